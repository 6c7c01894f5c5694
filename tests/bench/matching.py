"""Which rule matches, in microseconds an alert: ten rules beside ten thousand, in this process.

Ten rules match the alerts whatever else is in the book, so that a larger book differs in its size alone.
"""

import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from remediator.domain.alert import Alert, AlertStatus
from remediator.domain.ids import Fingerprint, RuleName, RuleVersion, SourceName
from remediator.language.matcher import parse_selector
from remediator.rules.loader import load_rules
from remediator.rules.people import Escalation
from remediator.rules.rule import Rule
from remediator.rules.rulebook import Rulebook
from tests.bench import rulebooks
from tests.bench.bench import Bench, median_ratio
from tests.bench.figures import Figure, Goal, Reading, Unit, median_reading

FEW = 10
MANY = (1_000, 5_000, 10_000)
ALERTS = 500
SLICE = 0.3
PAIRS = 5

Selector = Callable[[int], str]
"""The matchers of a rule by its number."""


def equalities(number: int) -> str:
    return f'{{alertname="Bench{number:05d}", namespace="team-{number % 10}", severity!="info"}}'


def patterns(number: int) -> str:
    name, service = f"Bench{number:05d}|Old{number:05d}", f"checkout-{number % 97}(-.+)?"
    return f'{{alertname=~"{name}", deployment=~"{service}", pod!~"test-.*"}}'


MIXES: dict[str, Selector] = {"equality": equalities, "regular expressions": patterns}


async def measure(bench: Bench) -> AsyncIterator[Figure]:
    told = [_alert(number) for number in range(ALERTS)]
    rule = _any_rule()
    for name, selector in MIXES.items():
        few = _book(rule, selector, FEW)
        for count in MANY[:1] if bench.is_quick else MANY:
            bench.tell(f"matching: {count:,} rules, {name}")
            yield _compared(name, told, few, _book(rule, selector, count))


def _compared(name: str, told: Sequence[Alert], few: Rulebook, many: Rulebook) -> Figure:
    own: list[Reading] = []
    floors: list[Reading] = []
    for _ in range(PAIRS):
        for book, readings in ((few, floors), (many, own)):
            readings.append(Reading(_microseconds(partial(_match_all, book, told)) / len(told)))
    ratio = median_ratio(own, floors)
    return Figure(
        subject="matching",
        what=f"an alert against {len(many.rules):,} rules, {name}",
        unit=Unit.MICROSECONDS,
        ours=median_reading(own),
        floor=median_reading(floors),
        floor_name=f"{FEW} rules",
        ratio=ratio,
        goal=Goal("within 10 % of 10 rules", ratio <= 1.1) if len(many.rules) == 5_000 else None,
    )


def _match_all(book: Rulebook, told: Sequence[Alert]) -> None:
    for alert in told:
        book.matching(alert)


def _microseconds(work: Callable[[], None]) -> float:
    """For once, over as many times as fit into a slice."""
    began, times = time.perf_counter(), 0
    while time.perf_counter() - began < SLICE:
        work()
        times += 1
    return (time.perf_counter() - began) / times * 1e6


def _book(rule: Rule, selector: Selector, count: int) -> Rulebook:
    rules = [
        replace(
            rule,
            name=RuleName(f"rule-{number}"),
            version=RuleVersion(f"version-{number}"),
            matchers=(parse_selector(selector(number)),),
        )
        for number in range(count)
    ]
    return Rulebook(rules, Escalation())


def _any_rule() -> Rule:
    with tempfile.TemporaryDirectory() as folder:
        return load_rules(rulebooks.write(Path(folder), *rulebooks.other_rules(1))).rulebook.rules[0]


def _alert(number: int) -> Alert:
    kind = number % FEW
    labels = {
        "alertname": f"Bench{kind:05d}",
        "cluster": "frankfurt-1",
        "namespace": f"team-{kind}",
        "deployment": f"checkout-{kind}-blue",
        "pod": f"checkout-{number}",
        "job": "kubernetes-service-endpoints",
        "severity": "critical",
        "prometheus": "monitoring/kube-prometheus-stack",
    }
    source, fingerprint = SourceName("alertmanager"), Fingerprint(f"{number:016x}")
    return Alert(source, fingerprint, AlertStatus.FIRING, labels, datetime.now(UTC))
