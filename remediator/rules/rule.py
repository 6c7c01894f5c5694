"""A rule, compiled: everything about it that can be known before the night is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from pydantic import ValidationError

from remediator.actions import Action
from remediator.catalogue import Plugin
from remediator.checks import Check
from remediator.diagnostics import Diagnostic
from remediator.domain.errors import BadPayload, RemediatorError
from remediator.domain.guidance import Guidance
from remediator.domain.ids import RuleName, RuleVersion, StepPath
from remediator.domain.mode import Mode
from remediator.domain.target import Target, checked_target
from remediator.guards import Guard
from remediator.language.expression import EvaluationError, Expression
from remediator.language.matcher import Matcher
from remediator.language.template import Value
from remediator.rules.approval import Approval

P = TypeVar("P", bound=Plugin)


class CannotBuild(RemediatorError):
    """The values of this incident do not make a step that can be carried out."""


@dataclass(frozen=True, slots=True)
class Step(Generic[P]):
    """`use: <plug-in>` with its parameters, some of which wait for an incident's values."""

    path: StepPath
    plugin: type[P]
    parameters: Value
    """Renders to the mapping that the plug-in is made of."""

    def build(self, values: Mapping[str, object]) -> P:
        """Raises `CannotBuild`, which names the place."""
        try:
            return self.plugin.model_validate(self.parameters.render(values))
        except EvaluationError as error:
            raise CannotBuild(f"{self.path}: {error.reason}") from error
        except ValidationError as error:
            raise CannotBuild(f"{self.path}: {_first(error)}") from error


@dataclass(frozen=True, slots=True)
class FixStep(Step[Action]):
    when: Expression | None
    """None: always."""
    approval: Approval


@dataclass(frozen=True, slots=True)
class Verify:
    """Without checks nothing is ever proven, and a person is paged: a fix is not believed on its word."""

    checks: tuple[Step[Check], ...] = ()
    within: timedelta = timedelta(minutes=10)
    steady_for: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class TargetTemplate:
    kind: str
    name: Value
    namespace: Value

    def render(self, values: Mapping[str, object]) -> Target:
        """Raises `BadPayload`: a label that is missing, or no name, is no target."""
        try:
            return checked_target(self.kind, self.name.render(values), self.namespace.render(values))
        except EvaluationError as error:
            raise BadPayload(f"target {self.kind}: {error.reason}") from error


@dataclass(frozen=True, slots=True)
class Rule:
    name: RuleName
    version: RuleVersion
    document: Mapping[str, object]
    """As written: what is stored, so that an open incident can finish on it."""
    file: str
    summary: str
    matchers: tuple[tuple[Matcher, ...], ...]
    """Lines, of which any may match; in a line all must hold."""
    severity: Value
    """Renders to a name in severities.yaml."""
    priority: int = 0
    """The higher one wins where rules overlap; among equals the file's name and the order in it decide."""
    policy: str = ""
    """Empty: the severity's own."""
    respond_within: timedelta | None = None
    page_at_once: bool | None = None
    """None: as the severity says."""
    mode: Mode = Mode.ACT
    target: TargetTemplate | None = None
    diagnose: Mapping[str, Step[Diagnostic]] = field(default_factory=dict)
    fix: tuple[FixStep, ...] = ()
    verify: Verify = Verify()
    guards: tuple[Guard, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def guidance(self) -> Guidance:
        return Guidance(self.summary, self.links)


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, detail["loc"]))
    return f"{place}: {detail['msg']}" if place else detail["msg"]
