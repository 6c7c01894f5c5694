"""What would happen to an alert, rule by rule and step by step, and why not. Nothing is looked at or touched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from remediator.domain.alert import Alert
from remediator.domain.finding import Finding
from remediator.domain.guidance import NO_GUIDANCE, Guidance
from remediator.domain.ids import IncidentId
from remediator.domain.incident import Incident, Phase, Progress, Status
from remediator.domain.mode import Mode
from remediator.domain.oncall import Roster
from remediator.domain.opening import Opening
from remediator.guards import Guard
from remediator.language.expression import EvaluationError
from remediator.language.text import to_text
from remediator.rules.approval import ApprovalNeed
from remediator.rules.decide import Chosen, choose_step, why_not
from remediator.rules.rule import FixStep, Rule, Step
from remediator.rules.rulebook import Rulebook
from remediator.rules.values import values_of


@dataclass(frozen=True, slots=True)
class RuleAnswer:
    rule: str
    file: str
    matches: bool
    why: str


@dataclass(frozen=True, slots=True)
class StepAnswer:
    path: str
    use: str
    parameters: Mapping[str, str]
    when: str = ""
    answer: str = ""
    """Of a fix step: `chosen`, or why not; empty elsewhere."""
    approval: str = ""


@dataclass(frozen=True, slots=True)
class PageAnswer:
    after: timedelta
    """From the alert's arrival, where nobody acknowledges and no fix is proven."""
    names: tuple[str, ...]
    people: tuple[str, ...]
    called: tuple[str, ...]
    """The same, as their colleagues know them."""


@dataclass(frozen=True, slots=True)
class Explanation:
    alert: str
    labels: Mapping[str, str]
    rules: tuple[RuleAnswer, ...]
    opening: Opening | None = None
    guidance: Guidance = NO_GUIDANCE
    values: Mapping[str, str] | None = None
    looks: tuple[StepAnswer, ...] = ()
    fixes: tuple[StepAnswer, ...] = ()
    guards: tuple[StepAnswer, ...] = ()
    checks: tuple[StepAnswer, ...] = ()
    pages: tuple[PageAnswer, ...] = ()


def explain(
    rulebook: Rulebook, alert: Alert, *, ceiling: Mode, findings: Mapping[str, Finding], now: datetime
) -> Explanation:
    """`findings` stand in for what the looks would find; without them each condition waits for its look."""
    answers = answer_rules(rulebook, alert)
    opening = rulebook.opening(alert, ceiling=ceiling)
    if opening is None:
        return Explanation(alert.name, alert.labels, answers)
    rule = rulebook.matching(alert)[0]
    values = values_of(_imagined(alert, opening, findings, now), now=now)
    return Explanation(
        alert=alert.name,
        labels=alert.labels,
        rules=answers,
        opening=opening,
        guidance=rule.guidance,
        values={name: _shown(value) for name, value in sorted(values.items())},
        looks=tuple(_step(step, values) for step in rule.diagnose.values()),
        fixes=_fixes(rule, values, looked=bool(findings)),
        guards=tuple(_guard(guard) for guard in (*rulebook.guards, *rule.guards)),
        checks=tuple(_step(step, values) for step in rule.verify.checks),
        pages=_pages(rulebook, opening, now),
    )


def answer_rules(rulebook: Rulebook, alert: Alert) -> tuple[RuleAnswer, ...]:
    """Every rule in the order that counts."""
    matching = [rule.name for rule in rulebook.matching(alert)]
    return tuple(_rule(rule, alert, matching) for rule in rulebook.rules)


def _rule(rule: Rule, alert: Alert, matching: Sequence[str]) -> RuleAnswer:
    if rule.name in matching:
        first = matching[0]
        why = "matches, and is used" if rule.name == first else f"matches too, but {first} comes before it"
        return RuleAnswer(rule.name, rule.file, True, why)
    return RuleAnswer(rule.name, rule.file, False, _why_no_match(rule, alert.labels))


def _why_no_match(rule: Rule, labels: Mapping[str, str]) -> str:
    """What fails in the line that comes nearest."""
    failing = [[matcher for matcher in line if not matcher.holds(labels)] for line in rule.matchers]
    nearest = min(failing, key=len, default=[])
    told = [f"{matcher}, but {matcher.name} is {labels.get(matcher.name, '')!r}" for matcher in nearest]
    return "wants " + "; ".join(told)


def _fixes(rule: Rule, values: Mapping[str, object], *, looked: bool) -> tuple[StepAnswer, ...]:
    choice = choose_step(rule, values, ())
    chosen = choice.index if isinstance(choice, Chosen) else None
    return tuple(_fix(step, values, chosen=number == chosen, looked=looked) for number, step in enumerate(rule.fix))


def _fix(step: FixStep, values: Mapping[str, object], *, chosen: bool, looked: bool) -> StepAnswer:
    told = _step(step, values)
    when = step.when.source.strip() if step.when is not None else "always"
    waits = step.when is not None and not looked
    if "target" not in values:
        answer = "no: the alert names no target"
    elif waits:
        answer = "waits for what the looks find"
    else:
        answer = "chosen first" if chosen else why_not(step, values) or "if what comes before it does not help"
    approval = "" if step.approval.need is ApprovalNeed.NEVER else f"wants approval: {step.approval.need.value}"
    return StepAnswer(told.path, told.use, told.parameters, when, answer, approval)


def _step(step: Step, values: Mapping[str, object]) -> StepAnswer:  # type: ignore[type-arg]  # of any family
    entries = getattr(step.parameters, "entries", {})
    parameters = {}
    for name, value in entries.items():
        try:
            parameters[name] = _shown(value.render(values))
        except EvaluationError:
            parameters[name] = value.source if hasattr(value, "source") else "known after the looks"
    return StepAnswer(step.path, step.plugin.yaml_name(), parameters)


def _guard(guard: Guard) -> StepAnswer:
    written = guard.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return StepAnswer(
        f"guard.{guard.yaml_name()}", guard.yaml_name(), {name: _shown(value) for name, value in written.items()}
    )


def _pages(rulebook: Rulebook, opening: Opening, now: datetime) -> tuple[PageAnswer, ...]:
    pages = []
    after = opening.first_page_in
    for step in opening.policy.steps:
        found = [rulebook.roster.recipient(name, now + after) for name in step.page]
        people = tuple(each.name for each in found if each is not None)
        pages.append(PageAnswer(after, step.page, people, tuple(_called(each, rulebook.roster) for each in people)))
        after += step.wait
    return tuple(pages)


def _called(recipient: str, roster: Roster) -> str:
    person = roster.people.get(recipient)
    return f"{person.name} ({recipient})" if person is not None and person.name != recipient else recipient


def _imagined(alert: Alert, opening: Opening, findings: Mapping[str, Finding], now: datetime) -> Incident:
    return Incident(
        id=IncidentId(0),
        rule=opening.rule,
        rule_version=opening.rule_version,
        title=opening.title,
        severity=opening.severity.name,
        mode=opening.mode,
        status=Status.TRIGGERED,
        phase=Phase.OPENED,
        alert=alert,
        target=opening.target,
        opened_at=now,
        firing=alert.is_firing,
        progress=Progress(findings=findings),
    )


def _shown(value: object) -> str:
    return to_text(value)
