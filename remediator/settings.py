"""What the daemon is told from outside: environment, then mounted secret files, then the settings file, then defaults.

Read by `app` and `cli` only; everything else gets plain values. Each default is the safe one.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

PREFIX = "REMEDIATOR_"
SECRETS_FOLDER = Path("/etc/remediator/secrets")
_OF_THE_COMMAND_LINE = {"CONFIG", "URL", "TOKEN"}
_OF_A_SERVICE = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")
"""What Kubernetes sets in every pod beside a Service whose name begins like ours."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True, allow_inf_nan=False)


class BasicLogin(_Section):
    user: str
    password: SecretStr


class GrafanaSignature(_Section):
    secrets: list[SecretStr] = Field(min_length=1, max_length=2)
    """One, or two while rotating."""
    timestamp_header: str = "X-Grafana-Alerting-Timestamp"
    """Grafana has no default: name the same header in its contact point, or replays cannot be told."""


class Webhooks(_Section):
    tokens: dict[str, list[SecretStr]] = {}
    """Source name -> one bearer token, or two while rotating. The name is recorded with every alert."""
    basic: dict[str, BasicLogin] = {}
    grafana: dict[str, GrafanaSignature] = {}
    allow_unauthenticated: bool = False
    """Accept alerts from anybody who can reach the port. For a laptop."""


class ApiToken(_Section):
    token: SecretStr
    roles: set[Literal["read", "respond", "approve"]] = {"read"}


class Kubernetes(_Section):
    enabled: bool = False
    kubeconfig: Path | None = None
    """None: the service account of the pod we run in. A credential plug-in that it names has five seconds, can ask
    nobody, and must give a token: the client certificates of one are not renewed, so a start refuses them."""
    kube_context: str | None = None


class PrometheusServer(_Section):
    url: str
    token: SecretStr | None = None


class PolledSource(_Section):
    """A sender of alerts that is also asked, since its webhooks cannot tell everything (facts: intake 1.5)."""

    kind: Literal["alertmanager", "grafana"] = "alertmanager"
    peers: list[str] = Field(min_length=1, max_length=32)
    """The base URL of every peer, not of a balancer before them: they do not know each other's alerts."""
    receiver: str = "remediator"
    """The name of our receiver (Grafana: contact point) there: only alerts routed to it are ours."""
    every_seconds: float = Field(default=30, ge=5, le=60)
    token: SecretStr | None = None
    basic: BasicLogin | None = None

    @field_validator("peers")
    @classmethod
    def _plain_addresses(cls, peers: list[str]) -> list[str]:
        for peer in peers:
            parts = urlsplit(peer)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
                raise ValueError("a peer is a plain http:// or https:// base URL")
            if parts.username or parts.password:
                raise ValueError("a peer's URL holds no login: use `token` or `basic`")
        plain = [peer.rstrip("/") for peer in peers]
        if len(set(plain)) < len(plain):
            raise ValueError("a peer is named twice")
        return plain

    @model_validator(mode="after")
    def _one_way_in(self) -> "PolledSource":
        if self.token is not None and self.basic is not None:
            raise ValueError("either `token` or `basic`, not both")
        return self


class Smtp(_Section):
    host: str
    port: int = Field(default=587, ge=1, le=65_535)
    sender: str
    user: str | None = None
    password: SecretStr | None = None
    start_tls: bool = True


class Engine(_Section):
    workers: int = Field(default=32, ge=1, le=256)
    """Incidents in hand at once, in this replica."""
    lease_seconds: float = Field(default=60, ge=5, le=3600)
    """For so long nobody takes up what a replica that died had in hand."""
    poll_seconds: float = Field(default=1, gt=0, le=1)
    """How often due work is looked for: so what another replica leaves is found. What this one takes in wakes it at
    once."""
    recheck_seconds: float = Field(default=15, gt=0, le=3600)
    """How often a fix under verification is looked at; one that made things worse stands for as long."""


Days = Annotated[int, Field(ge=1, le=36_500)] | Literal["forever"]
"""Zero is refused: it could be read as "nothing" or as "for ever". More than a database can count back is "forever"."""


class Retention(_Section):
    raw_days: Days = 90
    """What senders sent, as they sent it; up to a week longer, since it goes a week at a time."""
    decisions_days: Days = 400
    """Incidents with their timeline, episodes and writes, counted from their end. What is open is always kept,
    and for five weeks what was written, since guards count it."""
    diagnostics_days: Days = 30
    """The facts that looks saw, and the messages that were sent, of incidents that are over."""
    every_seconds: float = Field(default=3600, ge=1, le=86_400)
    """How often one of the replicas clears up, and makes the partitions of the weeks to come: once a day at least."""


class LastResort(_Section):
    """How pages go out while the database is not reachable."""

    channels: tuple[str, ...] = ()
    """Names of channels from oncall/channels.yaml. Empty: every channel there is."""
    grace_seconds: float = Field(default=30, ge=0, le=86_400)
    """How long an outage may last before pages that are due are sent from memory."""
    tell_after_seconds: float = Field(default=120, ge=0, le=86_400)
    """How long before the outage itself is told to the same channels. After a day of it a page helps nobody."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        secrets_dir=SECRETS_FOLDER,
        secrets_dir_missing="ok",
        secrets_nested_subdir=True,
        secrets_prefix="",
        extra="forbid",
        hide_input_in_errors=True,
        frozen=True,
        allow_inf_nan=False,
    )

    mode: Literal["observe", "suggest", "act"] = "observe"
    """The ceiling: a rule can lower it, never raise it."""
    rules_dir: Path = Path("rules")
    data_dir: Path = Path(".data")
    """The embedded PostgreSQL and the generated API token live here."""
    database_url: SecretStr | None = None
    """None: start the embedded PostgreSQL. The plain variable DATABASE_URL is read too."""
    database_pool: int = Field(default=10, ge=4, le=1000)
    """Connections, each of them a process of the server."""
    database_statement_cache: int = Field(default=100, ge=0, le=10_000)
    """Prepared statements kept for each connection. 0 behind PgBouncer in transaction mode before its release 1.21."""
    database_wait_seconds: float = Field(default=300, ge=0, le=86_400)
    """How long a start waits for a database that cannot be reached, before it gives up for its supervisor to see."""
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = ""
    """What people's browsers reach us by; goes into pages. Empty: http://host:port."""
    body_limit_mib: int = Field(default=64, ge=1, le=1024)
    """Of one request. It is held in memory, as often as it comes at once."""
    link_secret: SecretStr | None = None
    """Signs acknowledge links. None: made once and kept in the database, for all replicas."""
    webhooks: Webhooks = Webhooks()
    sources: dict[str, PolledSource] = {}
    """Senders to poll, by the name under which their webhooks are recorded (a key of `webhooks.tokens`, say)."""
    api_tokens: dict[str, ApiToken] = {}
    """Who may use the API. Empty: one token is made and kept in `data_dir`/api-token."""
    kubernetes: Kubernetes = Kubernetes()
    databases: dict[str, SecretStr] = {}
    """Connections that rules name: name -> DSN. Use a read-only role."""
    redis: dict[str, SecretStr] = {}
    prometheus: dict[str, PrometheusServer] = {}
    smtp: Smtp | None = None
    secrets: dict[str, SecretStr] = {}
    """What notifiers name: `slack_token`, `webhook_secret`, ..."""
    private_networks: bool = True
    """Whether rules may make us call private addresses. Link-local and metadata addresses are never called."""
    review_channel: str = ""
    """Observe mode tells this channel whom it would have paged. Empty: the timeline only."""
    engine: Engine = Engine()
    retention: Retention = Retention()
    last_resort: LastResort = LastResort()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @field_validator("public_url")
    @classmethod
    def _without_slash(cls, url: str) -> str:
        return url.rstrip("/")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The values passed in are the settings file's, so they come last."""
        return env_settings, NestedSecretsSettingsSource(file_secret_settings), init_settings


def load_settings(from_file: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """`environment` is asked for the one variable outside our prefix; a database in the file gives way to it."""
    values = dict(from_file)
    if database_url := environment.get("DATABASE_URL"):
        values["database_url"] = database_url
    return Settings(**values)  # type: ignore[arg-type]  # the file's values are checked by this very call


def unknown_names(environment: Mapping[str, str], secrets: Path = SECRETS_FOLDER) -> Iterator[str]:
    """Variables of our prefix, and mounted files, that name no setting: the library passes them over without a word."""
    for variable in environment:
        name = variable.upper().removeprefix(PREFIX)
        if name != variable.upper() and not (name in _OF_THE_COMMAND_LINE or _OF_A_SERVICE.fullmatch(variable.upper())):
            yield from () if _is_setting(name.partition("__")[0]) else (variable,)
    for path in sorted(secrets.iterdir()) if secrets.is_dir() else ():
        if not (path.name.startswith(".") or _is_setting(path.name)):
            yield str(path)


def _is_setting(name: str) -> bool:
    return name.lower() in Settings.model_fields
