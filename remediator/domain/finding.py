"""What one diagnostic saw. A diagnostic that failed is a fact too: `ok` is false and `error` says why."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    ok: bool
    summary: str
    """One line for the timeline: "2 of 3 pods failing (CrashLoopBackOff)"."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """Field name -> JSON-like value, timedelta or datetime; empty where not ok."""
    error: str = ""
    seconds: float = 0.0
