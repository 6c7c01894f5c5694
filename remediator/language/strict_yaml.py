"""YAML as people mean it: YAML 1.2's plain values, each key once, and every complaint with its place in the file.

Built from PyYAML's events, so that each value keeps the position it was written at; what is plain is read without
positions, and once more with them when somebody asks for a place. What YAML 1.1 read otherwise (`yes`, `010`, `1:30`)
is refused rather than guessed at; anchors and aliases are refused, and the bombs with them.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Final

import yaml
from yaml.reader import ReaderError

from remediator.language.document import BadYaml, Document, Mark, Path, Places, Problem, Severity
from remediator.language.plain_yaml import Ambiguous, NotPlain, load_plain, plain_value
from remediator.language.validation import explain_validation_error

__all__ = ["BadYaml", "Document", "Mark", "Path", "Problem", "Severity", "explain_validation_error", "load"]

LARGEST_FILE: Final = 1024 * 1024
_DEEPEST: Final = 40
_TEXT_TAG: Final = "tag:yaml.org,2002:str"


def load(text: str, path: str) -> list[Document]:
    """Every document in the text; empty ones are left out. Raises `BadYaml` at the first thing wrong with it."""
    if len(text) > LARGEST_FILE:
        raise BadYaml(Problem(path, 1, 1, f"the file is larger than {LARGEST_FILE >> 20} MiB"))
    read_carefully = cache(partial(_read_carefully, text, path))
    try:
        plain = load_plain(text)
    except NotPlain:
        return read_carefully()
    return [Document(data, path, partial(_places, read_carefully, number)) for number, data in enumerate(plain)]


def _places(read: Callable[[], list[Document]], number: int) -> Places:
    """Of a document that was read without them."""
    return read()[number].places()


def _read_carefully(text: str, path: str) -> list[Document]:
    try:
        return _Reader(text, path).documents()
    except yaml.MarkedYAMLError as error:
        raise BadYaml(_syntax_problem(error, text, path)) from error
    except (ReaderError, UnicodeEncodeError) as error:
        raise BadYaml(_character_problem(text, path)) from error


class _Reader:
    """Turns one text's events into documents."""

    def __init__(self, text: str, path: str) -> None:
        self._file = path
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._places = Places()

    def documents(self) -> list[Document]:
        found = []
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._places = Places()
                root = next(self._events)
                data = self._value(root, ())
                if isinstance(data, dict):
                    found.append(Document(data, self._file, partial(_same, self._places)))
                elif data is not None:
                    raise self._refusal(root, "a document must be a mapping, `key: value`")
        return found

    def _value(self, event: yaml.Event, path: Path) -> object:
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:  # an alias has one too: what it names
            raise self._refusal(event, "anchors and aliases are not allowed", "write the value out")
        if len(path) > _DEEPEST:
            raise self._refusal(event, f"values nest deeper than {_DEEPEST}")
        self._places.values[path] = _mark(event)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, path)
        assert isinstance(event, yaml.ScalarEvent), event  # noqa: S101  # the grammar has no fourth kind of node
        return self._scalar(event, path)

    def _mapping(self, start: yaml.MappingStartEvent, path: Path) -> dict[str, object]:
        self._refuse_tag(start)
        data: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event)
            here = (*path, key)
            if key in data:
                first = self._places.keys[here].line
                raise self._refusal(event, f"duplicate key {key!r}", f"it stands on line {first} already")
            self._places.keys[here] = _mark(event)
            data[key] = self._value(next(self._events), here)
        return data

    def _key(self, event: yaml.Event) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._refusal(event, "a key must be text", 'quote what begins with "{" or "["')
        key = self._scalar(event, None)
        if key == "<<" and event.implicit[0]:
            raise self._refusal(event, "merge keys are not allowed", "write the values out")
        if not isinstance(key, str):
            raise self._refusal(event, f"a key must be text, this is {event.value or 'empty'}", "quote it")
        return key

    def _sequence(self, start: yaml.SequenceStartEvent, path: Path) -> list[object]:
        self._refuse_tag(start)
        items: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _scalar(self, event: yaml.ScalarEvent, path: Path | None) -> object:
        if event.tag not in {None, "!", _TEXT_TAG}:
            self._refuse_tag(event)
        if event.anchor is not None:
            raise self._refusal(event, "anchors and aliases are not allowed", "write the value out")
        if path is not None and event.style not in {"|", ">"}:
            mark = _mark(event)
            self._places.text_starts[path] = Mark(mark.line, mark.column + (event.style in {"'", '"'}))
        plain = event.implicit[0] and event.tag is None
        return self._plain(event) if plain else event.value

    def _plain(self, event: yaml.ScalarEvent) -> object:
        try:
            return plain_value(event.value)
        except Ambiguous as error:
            raise self._refusal(event, f"{event.value} is ambiguous", error.advice) from error

    def _refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None and event.tag != "!":
            raise self._refusal(event, f"the tag {event.tag} is not allowed", "write the value without it")

    def _refusal(self, event: yaml.Event, message: str, hint: str = "") -> BadYaml:
        mark = _mark(event)
        return BadYaml(Problem(self._file, mark.line, mark.column, message, hint))


def _same(places: Places) -> Places:
    return places


def _mark(event: yaml.Event) -> Mark:
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1) if start is not None else Mark(1, 1)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, path: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    if written[: len(written) - len(written.lstrip())].find("\t") >= 0:
        return Problem(path, line, column, "a tab cannot indent", "use spaces")
    return Problem(path, line, column, str(error.problem or "not YAML"), str(error.context or ""))


def _character_problem(text: str, path: str) -> Problem:
    for number, character in enumerate(text):
        if not (character.isprintable() or character in "\t\n\r\x85\u00a0\ufeff\u2028\u2029"):
            line, column = text.count("\n", 0, number) + 1, number - text.rfind("\n", 0, number)
            return Problem(path, line, column, f"the character U+{ord(character):04X} is not allowed")
    return Problem(path, 1, 1, "the text holds a character that is not allowed")
