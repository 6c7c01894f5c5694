"""Who is asking? Webhook senders by bearer token, basic login or Grafana's signature; people and programs by API token.

Fails closed, compares in constant time, and never says which part was wrong.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from remediator.domain.errors import Unauthenticated
from remediator.domain.ids import SourceName
from remediator.settings import ApiToken, GrafanaSignature, Webhooks

CLOCKS_DIFFER_BY = timedelta(minutes=5)
"""How old, or how new, a signed timestamp may be."""
MOST_SEEN = 1_000
"""Logins remembered: there are as many as senders, unless anybody may send."""
SIGNATURE_HEADER = "X-Grafana-Alerting-Signature"


class Role(StrEnum):
    READ = "read"
    RESPOND = "respond"
    APPROVE = "approve"


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class ApiGate:
    tokens: Mapping[str, ApiToken]

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """By bearer token alone: a login is what a browser adds by itself to whatever another site has it send. Raises
        `Unauthenticated`."""
        return self._known(_bearer(headers))

    def reader(self, headers: Mapping[str, str]) -> Caller:
        """Of a page: also by basic login, with the token as the password. Raises `Unauthenticated`."""
        return self._known(_bearer(headers) or _basic(headers)[1])

    def _known(self, given: str) -> Caller:
        found = [name for name, token in self.tokens.items() if _same(given, token.token.get_secret_value())]
        if not given:
            raise Unauthenticated("an API token is needed: `Authorization: Bearer ...`")
        if not found:
            raise Unauthenticated(
                "this API token is not known here; give one of the daemon's `api_tokens`, or the one that it keeps"
            )
        return Caller(found[0], frozenset(Role(role) for role in self.tokens[found[0]].roles))


@dataclass(frozen=True, slots=True)
class Gate:
    """For webhooks. Gives the name under which the sender's alerts are recorded."""

    settings: Webhooks
    clock: Callable[[], datetime]
    _seen: dict[bytes, SourceName] = field(default_factory=dict)
    """Hashes of the logins that were right: how long it takes to find one tells nothing of what was hashed."""

    def sender(self, headers: Mapping[str, str], kind: str) -> SourceName:
        """By what the headers alone prove; a signature is checked by `signer` once the body is there.

        Raises `Unauthenticated`.
        """
        given = headers.get("Authorization", "")
        if not given:
            return self._judged(headers, kind)
        login = hashlib.sha256(f"{kind}\n{given}".encode("utf-8", "surrogateescape")).digest()
        known = self._seen.get(login)
        if known is None:
            known = self._judged(headers, kind)
            if len(self._seen) < MOST_SEEN:
                self._seen[login] = known
        return known

    def _judged(self, headers: Mapping[str, str], kind: str) -> SourceName:
        bearer, (user, password) = _bearer(headers), _basic(headers)
        for name, tokens in self.settings.tokens.items():
            if bearer and _any_same(bearer, [token.get_secret_value() for token in tokens]):
                return SourceName(name)
        for name, login in self.settings.basic.items():
            matches = _same(user, login.user) & _same(password, login.password.get_secret_value())
            if password and matches:
                return SourceName(name)
        if self.settings.allow_unauthenticated:
            return SourceName(kind)
        raise Unauthenticated("the webhook sender did not authenticate: bearer token, basic login or Grafana signature")

    def awaits_signature(self, headers: Mapping[str, str]) -> bool:
        return bool(self.settings.grafana) and SIGNATURE_HEADER in headers

    def signer(self, headers: Mapping[str, str], body: bytes) -> SourceName:
        """Whose secret signed this very body, now. Raises `Unauthenticated`."""
        signature = headers.get(SIGNATURE_HEADER, "")
        for name, signed in self.settings.grafana.items():
            stamp = headers.get(signed.timestamp_header, "")
            if self._is_fresh(stamp) and _is_signed(signed, stamp, body, signature=signature):
                return SourceName(name)
        raise Unauthenticated("the signature does not fit the body, or its timestamp is missing or too old")

    def _is_fresh(self, stamp: str) -> bool:
        if not stamp.isascii() or not stamp.isdecimal() or len(stamp) > 12:
            return False
        return abs(self.clock().timestamp() - int(stamp)) <= CLOCKS_DIFFER_BY.total_seconds()


def _is_signed(signed: GrafanaSignature, stamp: str, body: bytes, *, signature: str) -> bool:
    message = stamp.encode() + b":" + body
    made = [
        hmac.new(secret.get_secret_value().encode(), message, hashlib.sha256).hexdigest() for secret in signed.secrets
    ]
    return _any_same(signature, made)


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _basic(headers: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, encoded = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # neither base64, nor what base64 may be written in, nor UTF-8
        return "", ""
    return user, password


def _any_same(given: str, expected: Sequence[str]) -> bool:
    """Compares with every one: how long it takes must not tell which fits."""
    return sum(_same(given, one) for one in expected) > 0


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
