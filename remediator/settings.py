"""What the daemon is told from outside: environment, then mounted secret files, then the settings file, then defaults.

Read by `app` and `cli` only; everything else gets plain values. Each default is the safe one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
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
    """The user name of the basic login."""
    password: SecretStr
    """Its password."""


class GrafanaSignature(_Section):
    secrets: list[SecretStr] = Field(min_length=1, max_length=2)
    """One, or two while rotating."""
    timestamp_header: str = "X-Grafana-Alerting-Timestamp"
    """Grafana has no default: name the same header in its contact point, or replays cannot be told."""


class Webhooks(_Section):
    tokens: dict[str, list[SecretStr]] = {}
    """Source name -> one bearer token, or two while rotating. The name is recorded with every alert."""
    basic: dict[str, BasicLogin] = {}
    """Source name -> its basic login, for senders that have no bearer token."""
    grafana: dict[str, GrafanaSignature] = {}
    """Source name -> how Grafana signs what it sends."""
    allow_unauthenticated: bool = False
    """Accept alerts from anybody who can reach the port. For a laptop."""


class ApiToken(_Section):
    token: SecretStr
    """What a person or a program shows, as a bearer token, or as the password of a browser's login."""
    roles: set[Literal["read", "respond", "approve"]] = {"read"}
    """What it may: see incidents; acknowledge, resolve and stop everything; approve plans and lift the kill switch."""


class Kubernetes(_Section):
    enabled: bool = False
    """Whether there is a cluster to look at, and above `observe` to write to."""
    kubeconfig: Path | None = None
    """None: the service account of the pod we run in. A credential plug-in that it names has five seconds, can ask
    nobody, and must give a token: the client certificates of one are not renewed, so a start refuses them."""
    kube_context: str | None = None
    """The context of the kubeconfig. None: its current one."""


class PrometheusServer(_Section):
    url: str
    """The base URL, as in `http://prometheus:9090`."""
    token: SecretStr | None = None
    """The bearer token that it asks for. None: it asks for none."""


_LONGEST_LABEL = 63
"""Of a name in the DNS."""


class PolledSource(_Section):
    """A sender of alerts that is also asked, since its webhooks cannot tell everything (facts: intake 1.5)."""

    kind: Literal["alertmanager", "grafana"] = "alertmanager"
    """Whose API its peers speak."""
    peers: list[str] = Field(min_length=1, max_length=32)
    """The base URL of every peer, not of a balancer before them: they do not know each other's alerts."""
    receiver: str = "remediator"
    """The name of our receiver (Grafana: contact point) there: only alerts routed to it are ours."""
    every_seconds: float = Field(default=30, ge=5, le=60)
    """How often each peer is asked."""
    token: SecretStr | None = None
    """The bearer token that the peers ask for."""
    basic: BasicLogin | None = None
    """Or the basic login that they ask for."""

    @field_validator("peers")
    @classmethod
    def _plain_addresses(cls, peers: list[str]) -> list[str]:
        for peer in peers:
            parts = urlsplit(peer)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
                raise ValueError("a peer is a plain http:// or https:// base URL")
            if not all(0 < len(label) <= _LONGEST_LABEL for label in parts.hostname.removesuffix(".").split(".")):
                raise ValueError(
                    f"{parts.hostname!r} is no host: between its dots stand 1 to {_LONGEST_LABEL} characters each"
                )
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
    """The mail server."""
    port: int = Field(default=587, ge=1, le=65_535)
    """Its port."""
    sender: str
    """The address that mails come from."""
    user: str | None = None
    """Who logs in. None: nobody does."""
    password: SecretStr | None = None
    """Of the user."""
    start_tls: bool = True
    """Whether the connection must be encrypted before anything is said."""


class Engine(_Section):
    workers: int = Field(default=32, ge=1, le=256)
    """Incidents in hand at once, in this replica."""
    lease_seconds: float = Field(default=60, ge=5, le=3600)
    """For so long nobody takes up what a replica that died had in hand. A step's timeout is at most four fifths of it:
    a longer write is refused."""
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
    """The folder with the rules, the guards and the on-call chain."""
    data_dir: Path = Path(".data")
    """The embedded PostgreSQL lives here, and the generated API token for the command line to find. A path of 82 bytes
    at most on Linux, since the server's socket is here too; for root the server is the user `pgserver`, who must be let
    through to it."""
    database_url: SecretStr | None = None
    """None: start the embedded PostgreSQL. The plain variable DATABASE_URL is read too."""
    database_pool: int = Field(default=10, ge=4, le=1000)
    """The most connections to it that this replica keeps open, each of them a process of the server."""
    database_statement_cache: int = Field(default=100, ge=0, le=10_000)
    """Prepared statements kept for each connection. 0 behind PgBouncer in transaction mode before its release 1.21."""
    database_wait_seconds: float = Field(default=300, ge=0, le=86_400)
    """How long a start waits for a database that cannot be reached, before it gives up for its supervisor to see."""
    host: str = "127.0.0.1"
    """The address to listen on. `0.0.0.0`: all of them."""
    port: int = Field(default=8080, ge=0, le=65535)
    """The port to listen on. 0: one that is free."""
    public_url: str = ""
    """What people's browsers reach us by; goes into pages. Empty: http://host:port."""
    body_limit_mib: int = Field(default=64, ge=1, le=1024)
    """The largest webhook body that is read; a larger one is a 413. Each is held in memory while it is filed."""
    link_secret: SecretStr | None = None
    """Signs acknowledge links. None: made once and kept in the database, for all replicas."""
    webhooks: Webhooks = Webhooks()
    """How senders of alerts prove who they are. A start is refused where none of it is set."""
    sources: dict[str, PolledSource] = {}
    """Senders to poll, by the name under which their webhooks are recorded (a key of `webhooks.tokens`, say)."""
    api_tokens: dict[str, ApiToken] = {}
    """Who may use the API. Empty: one token is made, kept in the database for all replicas, and written to
    `data_dir`/api-token."""
    kubernetes: Kubernetes = Kubernetes()
    """The cluster."""
    databases: dict[str, SecretStr] = {}
    """Connections that rules name: name -> DSN. Use a read-only role."""
    redis: dict[str, SecretStr] = {}
    """Likewise: name -> URL, as in `redis://user:password@host:6379/0`."""
    prometheus: dict[str, PrometheusServer] = {}
    """Servers that the `promql` look and check name."""
    smtp: Smtp | None = None
    """The mail server of `email` channels. None: they cannot send."""
    secrets: dict[str, SecretStr] = {}
    """What notifiers name: `slack_token`, `webhook_secret`, ..."""
    private_networks: bool = True
    """Whether rules may make us call private addresses. Link-local and metadata addresses are never called."""
    review_channel: str = ""
    """Observe mode tells this channel whom it would have paged. Empty: the timeline only."""
    engine: Engine = Engine()
    """How incidents are worked on."""
    retention: Retention = Retention()
    """For how long things are kept."""
    last_resort: LastResort = LastResort()
    """How pages go out while the database is not reachable."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`info`: incidents, fixes and pages, a line each. `debug`: every move and every try."""
    log_format: Literal["json", "console"] = "json"
    """For machines or for people. Either goes to standard error."""

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


def names_at(path: Sequence[str]) -> list[str]:
    """What may stand there: in the settings themselves, or in the section that the path leads to."""
    section: type[BaseModel] = Settings
    for name in path:
        field = section.model_fields.get(name)
        found = _section_in(field.annotation) if field is not None else section  # a name of one's own: `sources.main`
        if found is None:
            return []
        section = found
    return sorted(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """That it is, may be, or holds by name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _section_in(inner)) is not None), None)
