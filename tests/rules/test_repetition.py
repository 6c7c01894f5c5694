"""Rules repeat each other: what is written the same is worked out once, and told of wherever it is wrong."""

from pathlib import Path

from remediator.domain.ids import RuleName
from remediator.language.strict_yaml import load
from remediator.rules.approval import BusinessHours
from remediator.rules.compile import SoundParts, compile_rule
from remediator.rules.complaints import Complaints
from remediator.rules.overlap import Earlier, shadowed
from remediator.rules.rule import Rule
from tests.rules.folder import RULE, load_with


def rule_texts(count: int) -> dict[str, str]:
    """The same rule under other names, for other alerts."""
    return {f"r{n}": RULE.replace("service-down", f"r{n}").replace("ServiceDown", f"Alert{n}") for n in range(count)}


def test_rules_that_are_written_alike_share_their_parts(tmp_path: Path) -> None:
    one, other = load_with(tmp_path, service_down="", **rule_texts(2)).rulebook.rules

    assert one.name != other.name
    assert one.target is other.target
    assert one.fix is other.fix
    assert one.verify is other.verify
    assert one.diagnose is other.diagnose


def test_an_expression_is_compiled_once_however_many_rules_write_it(tmp_path: Path) -> None:
    texts = {
        f"r{n}": text.replace("pods: $", f"at_most: {n + 1}\n    pods: $")
        for n, text in enumerate(rule_texts(9).values())
    }

    steps = [step for rule in load_with(tmp_path, service_down="", **texts).rulebook.rules for step in rule.fix]

    assert len(set(map(id, steps))) == 9, "no two of them are written alike"
    assert len({id(step.when) for step in steps}) == 1
    assert steps[0].when is not None


def test_what_is_wrong_in_many_rules_is_told_of_each(tmp_path: Path) -> None:
    wrong = {name: text.replace("failing > 0", "failing > '0'") for name, text in rule_texts(3).items()}

    problems = load_with(tmp_path, service_down="", **wrong).problems

    assert [(Path(p.path).name, p.line, p.column) for p in problems] == [(f"r{n}.yaml", 13, 33) for n in range(3)]


def test_the_same_fix_for_another_target_is_another_fix(tmp_path: Path) -> None:
    """`delete_pod` works on a deployment's pods; the very same words are wrong for a node. So are looks and checks."""
    texts = rule_texts(2)
    texts["r1"] = texts["r1"].replace("deployment: ${{ alert.labels.deployment }}", "node: ${{ alert.labels.node }}")
    texts["r1"] = texts["r1"].replace("  namespace: ${{ alert.labels.namespace }}\n", "")

    problems = load_with(tmp_path, service_down="", **texts).problems

    assert [(problem.line, problem.message) for problem in problems] == [
        (line, f"{name} works on deployment, statefulset, daemonset, pod, not on a node")
        for line, name in ((9, "pod_status"), (11, "delete_pod"), (18, "workload_ready"))
    ]


def compiled(*matches: str) -> list[Rule]:
    known: SoundParts = {}
    rules = []
    for number, match in enumerate(matches):
        (document,) = load(f"rule: r{number}\nseverity: sev1\nmatch: '{match}'\n", "rules.yaml")
        rule = compile_rule(Complaints(document), BusinessHours(), known)
        assert rule is not None
        rules.append(rule)
    return rules


def test_a_rule_is_shadowed_by_the_first_that_wants_nothing_more() -> None:
    rules = compiled('a="x", b="y"', 'b="y"', 'a="x"', 'b="y", a="x"', 'b="y", c="z"', 'c="z"')

    assert list(shadowed(rules)) == [("r3", "r0"), ("r4", "r1")]


def test_only_lines_that_share_a_matcher_are_compared() -> None:
    rules = compiled(*(f'alertname="A{n}", namespace="team-{n % 7}"' for n in range(200)))
    earlier = Earlier()

    for rule in rules:
        line = frozenset(rule.matchers[0])
        assert earlier.wider_than(line) is None
        earlier.add(line, RuleName(rule.name))

    assert earlier.compared < 200
