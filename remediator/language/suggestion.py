"""Did you mean? One place for it, so that rules, expressions and keys are corrected in the same words."""

import difflib
from collections.abc import Iterable


def did_you_mean(written: str, allowed: Iterable[str]) -> str:
    """A sentence, or nothing where nothing is near."""
    near = difflib.get_close_matches(written, list(allowed), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""
