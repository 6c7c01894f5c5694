"""Reads quickly what is written plainly, and declines the rest: `strict_yaml` then reads it with care, or refuses it.

A sound rule needs no places, so none are kept here. PyYAML's composer builds the nodes in C; what it would read in its
own way (anchors, tags, numbers of YAML 1.1) is declined, so that both readers give the same values.
"""

import re
from functools import lru_cache
from typing import Any, Final

import yaml

_DEEPEST: Final = 40
_NULLS: Final = frozenset({"null", "Null", "NULL", "~", ""})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_OLD_BOOLEAN: Final = re.compile(r"yes|no|on|off", re.IGNORECASE)
_OLD_NUMBER: Final = re.compile(r"[-+]?(0[0-9_]+|0[xob][0-9a-fA-F_]+|[0-9]+_[0-9_]*|[0-9]+(:[0-5]?[0-9])+)")
_LONGEST_WORD: Final = 5
_NUMBERS_BEGIN: Final = frozenset("-+.0123456789")
_MAY_BE_MARK: Final = re.compile(
    r"[&*!%](?<![^\s\ufeff\[\]{},:?-][&*!%])(?:(?<=[&*])[-_0-9A-Za-z]|(?<=!)(?:[\s<,\[\]{}]|\Z)|(?<=%)[A-Z])"
)
"""An anchor, an alias, a bare tag or a directive, or a text that looks like one: the composer takes them in silence."""

_PLAIN: Final = "plain"
_QUOTED: Final = "quoted"
"""In the place of tags; one that somebody wrote begins with an exclamation mark or `tag:`."""


class Ambiguous(Exception):
    """A plain text that YAML 1.1 and YAML 1.2 read differently."""

    def __init__(self, advice: str) -> None:
        super().__init__(advice)
        self.advice = advice


class NotPlain(Exception):
    """Something that wants the careful reader."""


def load_plain(text: str) -> list[dict[str, object]]:
    """The data of every document that is not empty. Raises `NotPlain`, also for what is no YAML at all."""
    if _MAY_BE_MARK.search(text):
        raise NotPlain
    try:
        loader = _Composer(text)
        documents = []
        while loader.check_node():
            data = _value(loader.get_node())
            if isinstance(data, dict):
                documents.append(data)
            elif data is not None:
                raise NotPlain
    except (yaml.YAMLError, UnicodeEncodeError, Ambiguous) as error:
        raise NotPlain from error
    return documents


def plain_value(text: str) -> object:
    """What an unquoted text stands for. Raises `Ambiguous`."""
    if len(text) > _LONGEST_WORD and text[0] not in _NUMBERS_BEGIN:
        return text
    return _short_or_number(text)


@lru_cache(maxsize=1024)
def _short_or_number(text: str) -> object:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _OLD_BOOLEAN.fullmatch(text):
        raise Ambiguous(f'write true or false, or "{text}" for the text')
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _OLD_NUMBER.fullmatch(text):
        raise Ambiguous(f'write a plain number, or "{text}" for the text')
    return text


class _Composer(yaml.CSafeLoader):
    """Says how each value was written and resolves nothing."""

    depth = 0

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: Any) -> str:
        return _PLAIN if kind is not yaml.ScalarNode or implicit[0] else _QUOTED

    def descend_resolver(self, current_node: yaml.Node | None, current_index: Any) -> None:
        """Called on the way into each node; composing recurses in C, where nothing else stops it."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise NotPlain

    def ascend_resolver(self) -> None:
        self.depth -= 1


def _value(node: Any) -> object:
    tag = node.tag
    if tag is _QUOTED:
        return node.value
    if tag is not _PLAIN:
        raise NotPlain
    kind = type(node)
    if kind is yaml.ScalarNode:
        return plain_value(node.value)
    if kind is yaml.MappingNode:
        return _mapping(node.value)
    return [_value(item) for item in node.value]


def _mapping(pairs: list[tuple[Any, Any]]) -> dict[str, object]:
    data: dict[str, object] = {}
    for key_node, value_node in pairs:
        key = _value(key_node)
        if type(key) is not str or key == "<<" or key in data:
            raise NotPlain
        data[key] = _value(value_node)
    return data
