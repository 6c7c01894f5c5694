"""What a rule says to the people who respond: what has happened, in a sentence, and where they look next."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from remediator.domain.errors import BadDocument

LONGEST_LINK = 1_000
LONGEST_LINK_NAME = 60
_UNSAFE = re.compile(r"[\s<>\"\\`]")
"""They end a link early, or mean another thing to each of those who show it."""


class BadLink(BadDocument, ValueError):
    """Nobody should be asked to follow it."""


@dataclass(frozen=True, slots=True)
class Guidance:
    summary: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    """Name -> URL: dashboards, documents."""


NO_GUIDANCE = Guidance()


def guidance_in(document: Mapping[str, object]) -> Guidance:
    """Of a rule as it was stored, perhaps by another release, or by hand: without what cannot be shown."""
    summary, links = document.get("summary"), document.get("links")
    written = links if isinstance(links, Mapping) else {}
    return Guidance(
        summary=summary if isinstance(summary, str) else "",
        links={name: url for name, url in written.items() if _is_sound(name, url)},
    )


def checked_link(url: str) -> str:
    """Raises `BadLink`, which says what to write instead."""
    if "${{" in url:
        raise BadLink("a link takes no ${{ }}: write it out, it is the same for every alert")
    if len(url) > LONGEST_LINK:
        raise BadLink(f"a link has at most {LONGEST_LINK:,} characters, this one {len(url):,}")
    if _UNSAFE.search(url) or not url.isprintable():
        raise BadLink(f"{url!r} holds a character that no link may hold: write it percent-encoded (a space is %20)")
    _demand_web_address(url)
    return url


def _demand_web_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadLink(f"{url!r} is no link: {error}") from error
    if not url.startswith(("http://", "https://")) or not host:
        raise BadLink(f"{url!r} is no link: write it like https://grafana.example.com/d/errors")
    if "@" in parts.netloc:
        raise BadLink("a link holds no login: everybody who is paged would have it")


def checked_link_name(name: str) -> str:
    """Raises `BadLink` likewise."""
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_LINK_NAME:
        raise BadLink(f"{name!r} is no name for a link: write a few words, at most {LONGEST_LINK_NAME} characters")
    return name


def _is_sound(name: object, url: object) -> bool:
    if not isinstance(name, str) or not isinstance(url, str):
        return False
    try:
        checked_link_name(name)
        checked_link(url)
    except BadLink:
        return False
    return True
