"""Whether what cannot be used may have been the global guards: then nothing is changed until somebody has looked.

A guess, on the safe side. To close wrongly costs a page for each alert; to lose guards costs every limit there is.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from remediator.language.suggestion import nearest
from remediator.language.validation import keys_of
from remediator.rules.schema import DOCUMENTS, GuardsDocument

_KEYS = frozenset(keys_of(GuardsDocument))
_EVERY_KEY = frozenset(key for document in DOCUMENTS.values() for key in keys_of(document))
_EXACT = re.compile(rf"\b({'|'.join(sorted(_KEYS))})[\"']?\s*:")
_UNINDENTED_KEY = re.compile(r"^[\"']?([\w-]+)[\"']?[ \t]*:", re.MULTILINE)


def is_guards_file(path: Path) -> bool:
    return path.stem.lower() == "guards"


def may_hold_guards(document: Mapping[str, object], kind: str | None) -> bool:
    """A document of another kind, or of none. A rule's own `guard` is near too, and is no loss where it is a rule's."""
    known = keys_of(DOCUMENTS[kind]) if kind is not None else []
    return _any_is_near(document.keys() - known, beside=known)


def text_may_hold_guards(text: str) -> bool:
    """A text that is no YAML, or is not to be read."""
    return _EXACT.search(text) is not None or _any_is_near(_UNINDENTED_KEY.findall(text), beside=_EVERY_KEY)


def _any_is_near(keys: Iterable[str], *, beside: Iterable[str]) -> bool:
    allowed = {*beside, *_KEYS}
    return any(nearest(key, allowed) in _KEYS for key in keys)
