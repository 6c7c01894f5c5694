"""Reads a folder of rules whole: one broken file never takes down the others, and every problem is told at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from remediator.domain.errors import BadDocument
from remediator.domain.ids import RuleName
from remediator.guards import Guard
from remediator.language.document import Document, Problem, Severity
from remediator.language.strict_yaml import BadYaml, load
from remediator.language.suggestion import did_you_mean
from remediator.rules.approval import BusinessHours
from remediator.rules.closed import Closed
from remediator.rules.compile import SoundParts, compile_rule
from remediator.rules.complaints import Complaints
from remediator.rules.files import rule_files
from remediator.rules.lost_guards import is_guards_file, may_hold_guards, text_may_hold_guards
from remediator.rules.overlap import shadowed
from remediator.rules.people import Escalation, EscalationReader
from remediator.rules.rule import Rule
from remediator.rules.rulebook import Rulebook
from remediator.rules.schema import (
    DOCUMENTS,
    ChannelsDocument,
    GuardsDocument,
    HoursPart,
    PeopleDocument,
    PolicyDocument,
    SchedulesDocument,
    SeveritiesDocument,
)
from remediator.rules.steps import build_now

S = TypeVar("S", bound=BaseModel)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Loaded:
    rulebook: Rulebook
    """What is sound; what is not is left out, and among the problems."""
    problems: tuple[Problem, ...]
    is_whole: bool = True
    """Each file could be read, if not understood. What could not may be at the next try, though it stays the same."""

    @property
    def has_errors(self) -> bool:
        return any(problem.severity is Severity.ERROR for problem in self.problems)


def load_rules(folder: Path) -> Loaded:
    """Raises `BadDocument` where there is no such folder."""
    if not folder.is_dir():
        raise BadDocument(f"{folder} is not a folder")
    with _uncollected():
        read = _Reading()
        for path in rule_files(folder, on_error=lambda error: read.unreadable(error, error.filename)):
            read.file(path)
        return read.loaded()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Reading leaves no cycles behind; the collector would only walk everything read so far, again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Reading:
    """One pass over the files, then one over what they say of each other."""

    def __init__(self) -> None:
        self._kinds: dict[str, list[Complaints]] = {kind: [] for kind in DOCUMENTS}
        self._all: list[Complaints] = []
        self._unreadable: list[Problem] = []
        self._guards_lost = False
        """Something that may have been guards could not be read."""
        self._is_whole = True

    def file(self, path: Path) -> None:
        try:
            text = _text_of(path.read_bytes())
        except (OSError, UnicodeDecodeError) as error:
            self.unreadable(error, path)
            return
        if path.suffix != ".yaml":
            told = Problem(str(path), 1, 1, "this file is not read", "rename it: its name must end in .yaml")
            self._unusable(told, path, text)
            return
        try:
            documents = load(text, str(path))
        except BadYaml as error:
            self._unusable(error.problem, path, text)
            return
        if is_guards_file(path) and not documents:
            told = Problem(str(path), 1, 1, "the guards are gone: this file is empty", "none at all is `guards: []`")
            self._unusable(told, path, text)
        for document in documents:
            self._document(document)

    def unreadable(self, error: OSError | UnicodeDecodeError, path: Path | str) -> None:
        """A file or a folder: either may have held guards."""
        self._unreadable.append(Problem(str(path), 1, 1, f"cannot be read: {error}"))
        self._guards_lost = True
        # Either goes away with a change of the file alone.
        self._is_whole &= isinstance(error, (UnicodeDecodeError, PermissionError))

    def loaded(self) -> Loaded:
        escalation = self._escalation()
        guards, hours = self._guards()
        rules = self._rules(escalation, hours)
        told = [problem for complaints in self._all for problem in complaints.problems]
        problems = sorted([*self._unreadable, *told], key=lambda each: (each.path, each.line, each.column))
        return Loaded(Rulebook(rules, escalation, guards=guards, hours=hours), tuple(problems), self._is_whole)

    def _unusable(self, problem: Problem, path: Path, text: str) -> None:
        self._unreadable.append(problem)
        self._guards_lost |= is_guards_file(path) or text_may_hold_guards(text)

    def _document(self, document: Document) -> None:
        complaints = Complaints(document)
        self._all.append(complaints)
        kind = next((key for key in DOCUMENTS if key in document.data), None)
        if kind != "guards":
            self._guards_lost |= may_hold_guards(document.data, kind)
        if kind is not None:
            self._kinds[kind].append(complaints)
            return
        first = next(iter(document.data), "")
        hint = did_you_mean(first, DOCUMENTS) or f"it begins with one of {', '.join(DOCUMENTS)}"
        complaints.about((first,) if first else (), "what kind of document is this?", hint=hint, key=True)

    def _escalation(self) -> Escalation:
        reader = EscalationReader()
        for severities, complaints in self._shaped("severities", SeveritiesDocument):
            reader.severities(severities, complaints)
        for policy, complaints in self._shaped("policy", PolicyDocument):
            reader.policy(policy, complaints)
        for people, complaints in self._shaped("people", PeopleDocument):
            reader.people(people, complaints)
        for schedules, complaints in self._shaped("schedules", SchedulesDocument):
            reader.schedules(schedules, complaints)
        for channels, complaints in self._shaped("channels", ChannelsDocument):
            reader.channels(channels, complaints)
        return reader.finish()

    def _guards(self) -> tuple[tuple[Guard, ...], BusinessHours]:
        """A guard that cannot be read leaves `Closed` in its place."""
        guards: list[Guard | None] = [None] if self._guards_lost else []
        documents = 0
        with_hours: list[tuple[HoursPart, Complaints]] = []
        for shape, complaints in self._shaped("guards", GuardsDocument):
            guards += [build_now(Guard, each, ("guards", n), complaints) for n, each in enumerate(shape.guards)]
            documents += 1
            if "business_hours" in shape.model_fields_set:
                with_hours.append((shape.business_hours, complaints))
        lost = documents < len(self._kinds["guards"]) or None in guards or len(with_hours) > 1
        _tell_second_hours([complaints for _, complaints in with_hours])
        known = tuple(guard for guard in guards if guard is not None)
        hours = _hours(with_hours[0][0]) if with_hours else BusinessHours()
        return ((Closed(), *known) if lost else known), hours

    def _rules(self, escalation: Escalation, hours: BusinessHours) -> list[Rule]:
        rules: dict[RuleName, Rule] = {}
        places: dict[RuleName, Complaints] = {}
        known: SoundParts = {}
        for complaints in self._kinds["rule"]:
            rule = compile_rule(complaints, hours, known)
            if rule is None or not _is_reachable(rule, escalation, complaints):
                continue
            if rule.name in rules:
                complaints.about(("rule",), f"there is another rule {rule.name!r}", hint=f"in {rules[rule.name].file}")
                continue
            rules[rule.name], places[rule.name] = rule, complaints
        for late, early in shadowed(list(rules.values())):
            places[late].warn(
                ("match",), f"never reached: {early} matches the same alerts first", hint="see `priority`"
            )
        return list(rules.values())

    def _shaped(self, kind: str, model: type[S]) -> Iterator[tuple[S, Complaints]]:
        for complaints in self._kinds[kind]:
            try:
                yield model.model_validate(complaints.document.data), complaints
            except ValidationError as error:
                complaints.about_shape(error, model)


def _text_of(content: bytes) -> str:
    """With the line ends that text has, whatever wrote the file."""
    text = content.decode()
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _is_reachable(rule: Rule, escalation: Escalation, complaints: Complaints) -> bool:
    """A rule that could call nobody is no rule."""
    before = len(complaints.problems)
    if rule.policy and rule.policy not in escalation.policies:
        hint = did_you_mean(rule.policy, escalation.policies)
        complaints.about(("escalate", "policy"), f"there is no policy {rule.policy!r}", hint=hint)
    known = escalation.severities
    name = rule.severity.render({}) if rule.severity.is_constant else None
    if not known or (name is not None and name not in known):
        hint = did_you_mean(str(name), known) or f"known: {', '.join(sorted(known)) or 'none'}"
        complaints.about(("severity",), f"there is no severity {name!r} with a policy", hint=hint)
    return len(complaints.problems) == before


def _tell_second_hours(written: list[Complaints]) -> None:
    """Nobody can tell which are meant, so which fixes would wait for a yes."""
    for complaints in written[1:]:
        first = written[0].document
        mark = first.locate(("business_hours",), key=True)
        hint = f"they stand at {first.file}:{mark.line}:{mark.column} already"
        complaints.about(("business_hours",), "the business hours are written twice", hint=hint, key=True)


def _hours(part: HoursPart) -> BusinessHours:
    return BusinessHours(part.timezone, frozenset(_DAYS.index(day) for day in part.days), part.starts, part.ends)
