"""What one diagnostic saw. A diagnostic that failed is a fact too: `ok` is false and `error` says why."""

from collections.abc import Mapping

import msgspec


class Finding(msgspec.Struct, frozen=True):
    ok: bool
    summary: str
    """One line for the timeline: "2 of 3 pods failing (CrashLoopBackOff)"."""
    facts: Mapping[str, object] = msgspec.field(default_factory=dict)
    """Field name -> JSON-like value, timedelta or datetime; empty where not ok."""
    error: str = ""
    seconds: float = 0.0
