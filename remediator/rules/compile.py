"""A rule's document made into a `Rule`, or told what is wrong with it: all of it, each at its place."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

import msgspec
from pydantic import ValidationError

from remediator.actions import Action
from remediator.checks import Check
from remediator.diagnostics import Diagnostic
from remediator.domain.errors import BadDocument, BadPayload
from remediator.domain.ids import RuleName, RuleVersion
from remediator.domain.mode import Mode
from remediator.domain.target import NAMESPACED, TARGET_KINDS, checked_target
from remediator.guards import Guard
from remediator.language.document import Document, Path
from remediator.language.expression import BadName, CelType, Expression, ExpressionError, Scope
from remediator.language.matcher import Matcher, MatcherSyntaxError, parse_selector
from remediator.language.template import Constant, Value, compile_value
from remediator.rules.approval import Approval, BusinessHours
from remediator.rules.complaints import Complaints
from remediator.rules.proof import warn_of_alerts_that_vanish
from remediator.rules.rule import FixStep, Rule, Step, TargetTemplate, Verify
from remediator.rules.schema import FixKeys, RuleDocument, TargetPart, VerifyPart
from remediator.rules.steps import P, build_now, compile_step, find_plugin
from remediator.rules.values import alert_scope, finding_names, incident_scope

T = TypeVar("T")

SoundParts = dict[tuple[object, ...], object]
"""Parts of rules in which nothing is wrong, by what is written: rules repeat each other, and each is compiled once."""

_FIX_KEYS = frozenset(FixKeys.model_fields)
_STAND_INS: Mapping[str, object] = {"rule": "unnamed", "match": '{alertname="unnamed"}', "severity": "unnamed"}
"""In the place of what is wrong, so that the rest of the document is still looked at."""


def compile_rule(complaints: Complaints, hours: BusinessHours, known: SoundParts) -> Rule | None:
    """None where there is an error; warnings let a rule pass. `known` grows; it serves rules of the same hours only."""
    before = len(complaints.problems)
    shape, broken = _shape(complaints)
    rule = _Compiler(complaints, hours, shape, broken, known).rule()
    errors = [p for p in complaints.problems[before:] if p.severity == "error"]
    return rule if not errors else None


def version_of(document: Mapping[str, object]) -> RuleVersion:
    canonical = msgspec.json.encode(document, order="sorted")
    return RuleVersion(hashlib.sha256(canonical).hexdigest()[:16])


def _shape(complaints: Complaints) -> tuple[RuleDocument, frozenset[str]]:
    """The document with what is wrong in it left out, and which of its keys that were."""
    data = complaints.document.data
    try:
        return RuleDocument.model_validate(data), frozenset()
    except ValidationError as error:
        complaints.about_shape(error, RuleDocument)
        broken = frozenset(str(detail["loc"][0]) for detail in error.errors(include_url=False) if detail["loc"])
        sound = {name: value for name, value in data.items() if name not in broken}
        return RuleDocument.model_validate({**_STAND_INS, **sound}), broken


@dataclass(frozen=True, slots=True)
class _Compiler:
    complaints: Complaints
    hours: BusinessHours
    shape: RuleDocument
    broken: frozenset[str]
    known: SoundParts

    def rule(self) -> Rule:
        shape, document = self.shape, self.complaints.document
        target = self._once("target", lambda: self._target(shape.target) if shape.target is not None else None)
        kind = self._target_kind(target)
        scope, diagnose = self._once("diagnose", lambda: self._diagnose(kind), kind)
        fix = self._once("fix", lambda: self._fix(scope, target), scope, target)
        verify = self._once("verify", lambda: self._verify(shape.verify, scope, kind), scope, kind)
        self._need_target_and_proof()
        warn_of_alerts_that_vanish(kind, fix, verify.checks, self.complaints)
        return Rule(
            name=RuleName(shape.rule),
            version=version_of(document.data),
            document=document.data,
            file=document.file,
            summary=shape.summary,
            matchers=self._matchers(),
            severity=self._once("severity", lambda: self._text(("severity",), shape.severity)),
            priority=shape.priority,
            policy=shape.escalate.policy or "",
            respond_within=shape.respond_within,
            page_at_once=shape.escalate.after == "at_once" if shape.escalate.after else None,
            mode=Mode(shape.mode),
            target=target,
            diagnose=diagnose,
            fix=fix,
            verify=verify,
            guards=self._once("guard", self._guards),
            links=shape.links,
        )

    def _once(self, key: str, make: Callable[[], T], *beside: object) -> T:
        """What is written at `key` and depends on nothing but `beside`."""
        return self._remembered((key, repr(self.complaints.document.data.get(key)), *beside), make)

    def _remembered(self, written: tuple[object, ...], make: Callable[[], T]) -> T:
        if written in self.known:
            return cast("T", self.known[written])
        before = len(self.complaints.problems)
        made = make()
        if len(self.complaints.problems) == before:
            self.known[written] = made
        return made

    def _step(self, plugin: type[P], written: Mapping[str, object], path: Path, scope: Scope) -> Step[P] | None:
        return self._remembered(
            (plugin, path, scope, repr(written)),
            lambda: compile_step(plugin, written, path, scope=scope, complaints=self.complaints),
        )

    def _matchers(self) -> tuple[tuple[Matcher, ...], ...]:
        lines = []
        written = self.complaints.document.data.get("match")
        for number, text in enumerate(self.shape.match):
            path: Path = ("match", number) if isinstance(written, list) else ("match",)
            try:
                lines.append(parse_selector(text))
            except MatcherSyntaxError as error:
                self.complaints.about_text(path, error.message, column=error.column)
        return tuple(lines)

    def _text(self, path: Path, written: str) -> Value:
        """A text that may look at the alert, and at nothing that is known only later."""
        try:
            value = compile_value(written, alert_scope())
        except ExpressionError as error:
            self.complaints.about_expression(path, error)
            return Constant("")
        if value.type not in {CelType.STRING, CelType.DYN}:
            self.complaints.about(path, f"this must be text, and gives {value.type}")
        return value

    def _target(self, part: TargetPart) -> TargetTemplate | None:
        named = {kind: name for kind in TARGET_KINDS if (name := getattr(part, kind)) is not None}
        if len(named) != 1:
            self.complaints.about(("target",), "a target is one thing", hint=f"one of {', '.join(TARGET_KINDS)}")
            return None
        ((kind, name),) = named.items()
        if (part.namespace is not None) != (kind in NAMESPACED):
            word = "needs a" if kind in NAMESPACED else "has no"
            self.complaints.about(("target",), f"a {kind} {word} namespace", key=True)
            return None
        before = len(self.complaints.problems)
        namespace = self._text(("target", "namespace"), part.namespace) if part.namespace else Constant("")
        target = TargetTemplate(kind, self._text(("target", kind), name), namespace)
        if len(self.complaints.problems) == before:
            self._check_constant_target(target)
        return target

    def _check_constant_target(self, target: TargetTemplate) -> None:
        name = target.name.render({}) if target.name.is_constant else "later"
        namespace = target.namespace.render({}) if target.namespace.is_constant else "later"
        try:
            checked_target(target.kind, name, namespace)
        except BadPayload as error:
            self.complaints.about(("target",), str(error), key=True)

    def _target_kind(self, target: TargetTemplate | None) -> str | None:
        """Empty: the rule has none, and fixes nothing. None: what is wrong with the target is told elsewhere."""
        if target is not None:
            return target.kind
        has_none = self.shape.target is None and "target" not in self.broken
        return "" if has_none and not self.shape.fix else None

    def _need_kind(self, plugin: type[Action | Check | Diagnostic], path: Path, kind: str | None) -> None:
        """What can never work on the rule's target is a mistake."""
        if kind is None or kind in plugin.target_kinds:
            return
        works = f"{plugin.yaml_name()} works on {', '.join(plugin.target_kinds)}"
        if kind:
            self.complaints.about((*path, "use"), f"{works}, not on a {kind}")
        elif plugin.target_kinds != TARGET_KINDS:
            self.complaints.about(
                (*path, "use"), f"{works}, and this rule has no target", hint="name it under `target`"
            )

    def _diagnose(self, kind: str | None) -> tuple[Scope, dict[str, Step[Diagnostic]]]:
        names, plugins = self._names()
        for name, plugin in plugins.items():
            self._need_kind(plugin, ("diagnose", name), kind)
        return self._scope(names), self._looks(plugins)

    def _names(self) -> tuple[dict[str, CelType], dict[str, type[Diagnostic]]]:
        """The names that looks give to expressions. What a broken look would give is taken as it comes."""
        names: dict[str, CelType] = {}
        found: dict[str, type[Diagnostic]] = {}
        written = self.complaints.document.data.get("diagnose")
        for name in written if isinstance(written, Mapping) else ():
            step = self.shape.diagnose.get(name)
            plugin = find_plugin(Diagnostic, step, ("diagnose", name), self.complaints) if step is not None else None
            if plugin is None:
                names[f"diagnose.{name}"] = CelType.DYN
            else:
                found[name] = plugin
                names |= finding_names(name, plugin)
        return names, found

    def _scope(self, names: Mapping[str, CelType]) -> Scope:
        try:
            return incident_scope().extend(names)
        except BadName as error:
            self.complaints.about(("diagnose",), str(error), key=True)
            return incident_scope()

    def _looks(self, plugins: Mapping[str, type[Diagnostic]]) -> dict[str, Step[Diagnostic]]:
        """They run at once, so none can look at what another finds."""
        scope = incident_scope()
        steps = {
            name: compile_step(
                plugin, self.shape.diagnose[name], ("diagnose", name), scope=scope, complaints=self.complaints
            )
            for name, plugin in plugins.items()
        }
        return {name: step for name, step in steps.items() if step is not None}

    def _fix(self, scope: Scope, target: TargetTemplate | None) -> tuple[FixStep, ...]:
        steps = [
            self._fix_step(written, ("fix", number), scope, target=target)
            for number, written in enumerate(self.shape.fix)
        ]
        return tuple(step for step in steps if step is not None)

    def _fix_step(
        self, written: Mapping[str, object], path: Path, scope: Scope, *, target: TargetTemplate | None
    ) -> FixStep | None:
        keys = self._fix_keys(written, path)
        when = self._condition((*path, "when"), keys.when, scope) if keys.when is not None else None
        plugin = find_plugin(Action, written, path, self.complaints)
        if plugin is None:
            return None
        if target is not None:
            self._need_kind(plugin, path, target.kind)
        # Rules differ in when they do something more than in what they do.
        does = {name: value for name, value in written.items() if name not in _FIX_KEYS}
        step = self._step(plugin, does, path, scope)
        if step is None:
            return None
        return FixStep(step.path, step.plugin, step.parameters, when, Approval(keys.approve, self.hours))

    def _fix_keys(self, written: Mapping[str, object], path: Path) -> FixKeys:
        try:
            return FixKeys.model_validate({name: written[name] for name in _FIX_KEYS & written.keys()})
        except ValidationError as error:
            self.complaints.about_shape(error, FixKeys, at=path)
            return FixKeys()

    def _condition(self, path: Path, source: str, scope: Scope) -> Expression | None:
        try:
            return scope.condition(source)
        except ExpressionError as error:
            self.complaints.about_expression(path, error)
            return None

    def _verify(self, part: VerifyPart | None, scope: Scope, kind: str | None) -> Verify:
        if part is None:
            return Verify()
        checks = []
        for number, written in enumerate(part.checks):
            path: Path = ("verify", "checks", number)
            plugin = find_plugin(Check, written, path, self.complaints)
            if plugin is not None:
                self._need_kind(plugin, path, kind)
                checks.append(self._step(plugin, written, path, scope))
        default = Verify()
        return Verify(
            tuple(check for check in checks if check is not None),
            part.within if part.within is not None else default.within,
            part.steady_for if part.steady_for is not None else default.steady_for,
        )

    def _guards(self) -> tuple[Guard, ...]:
        built = [
            build_now(Guard, written, ("guard", number), self.complaints)
            for number, written in enumerate(self.shape.guard)
        ]
        return tuple(guard for guard in built if guard is not None)

    def _need_target_and_proof(self) -> None:
        if not self.shape.fix:
            return
        if self.shape.target is None and "target" not in self.broken:
            self.complaints.about(("fix",), "a fix needs a target", hint="say what it may touch", key=True)
        if self.shape.verify is None and "verify" not in self.broken:
            self.complaints.warn(("fix",), "nothing proves this fix", hint="without `verify` a person is always paged")


def compile_stored(document: Mapping[str, object], hours: BusinessHours) -> Rule:
    """A version from the store. Raises `BadDocument` where this release no longer understands it."""
    complaints = Complaints(Document.stored(document))
    rule = compile_rule(complaints, hours, {})
    if rule is None:
        raise BadDocument(f"this release cannot read the stored rule: {complaints.problems[0].message}")
    return rule
