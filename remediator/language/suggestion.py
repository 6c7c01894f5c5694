"""Did you mean? One place for it, so that rules, expressions and keys are corrected in the same words."""

import difflib
from collections.abc import Iterable


def nearest(written: str, allowed: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(written, list(allowed), n=1, cutoff=0.6)
    return near[0] if near else None


def did_you_mean(written: str, allowed: Iterable[str]) -> str:
    """A sentence, or nothing where nothing is near."""
    near = nearest(written, allowed)
    return f"did you mean {near!r}?" if near is not None else ""
