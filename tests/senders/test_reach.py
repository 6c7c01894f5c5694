"""Which routes take alerts away, from us or from everybody else; and the sound ones, of which nothing is said."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediator.language.foreign_yaml import load_foreign
from remediator.language.matcher import parse_matchers
from remediator.senders.lint import lint_alertmanager
from remediator.senders.recommended import recommended

SOUND = recommended("remediator", "https://remediator.example.com")
RECEIVERS = SOUND[SOUND.index("receivers:") :] + '  - name: "null"\n  - { name: page, pagerduty_configs: [{}] }\n'
TIMING = "group_wait: 5s, group_interval: 1m, repeat_interval: 1h"
OURS = "{ receiver: remediator, continue: true }"


def told(*routes: str, root: str = "slack") -> list[str]:
    """With the line: the children of the root are in lines 2, 3, ..."""
    children = "".join(f"  {route},\n" for route in routes)
    text = f"route: {{ receiver: {root}, {TIMING}, routes: [\n{children}] }}\n{RECEIVERS}"
    problems = lint_alertmanager(load_foreign(text, "am.yml"), "remediator", is_polled=True)
    assert all(problem.hint for problem in problems)
    return [f"{problem.severity} {problem.line}:{problem.column} {problem.message}" for problem in problems]


@pytest.mark.parametrize(
    "routes",
    [
        pytest.param([OURS], id="a first child for us"),
        pytest.param([OURS, "{ receiver: page, matchers: [severity=critical] }"], id="and others below"),
        pytest.param(["{ receiver: remediator }"], id="an only child for us"),
        pytest.param(
            [OURS, "{ receiver: page, matchers: [a=b], mute_time_intervals: [nights] }"], id="others are muted"
        ),
        pytest.param(
            ["{ receiver: page, matchers: [severity=critical], continue: true }", OURS], id="one before that goes on"
        ),
        pytest.param(['{ receiver: "null", matchers: [alertname=Watchdog] }', OURS], id="one that is for nobody"),
        pytest.param(
            [
                "{ receiver: page, matchers: [team=a] }",
                "{ receiver: remediator, matchers: [team=b] }",
                '{ receiver: page, matchers: [team=~"c|d"] }',
            ],
            id="by team, one is ours",
        ),
        pytest.param(
            [OURS, "{ receiver: page, matchers: [team=a] }", "{ receiver: remediator, matchers: [a=b] }"],
            id="what we were told before",
        ),
        pytest.param(
            [
                "{ receiver: remediator, matchers: [severity=critical], continue: true }",
                "{ receiver: page, matchers: [severity=critical] }",
                "{ receiver: remediator }",
            ],
            id="the same matchers before",
        ),
        pytest.param(
            [
                (
                    "{ receiver: page, matchers: [team=a], routes: [ { receiver: remediator, continue: true }, "
                    "{ matchers: [severity=critical] } ] }"
                ),
                "{ receiver: remediator }",
            ],
            id="a subtree that leads to us too",
        ),
        pytest.param(
            [
                (
                    "{ receiver: page, matchers: [team=a], continue: true, routes: [ { matchers: [b=c] }, "
                    "{ receiver: remediator } ] }"
                ),
                "{ receiver: remediator }",
            ],
            id="a subtree that goes on to us",
        ),
    ],
)
def test_sound_routes_are_left_alone(routes: Sequence[str]) -> None:
    assert told(*routes) == []


def test_a_root_that_leads_to_us_is_sound() -> None:
    assert told(root="remediator") == []
    assert told("{ group_wait: 1s, matchers: [severity=critical] }", root="remediator") == []
    assert told('{ receiver: "null", matchers: [alertname=InfoInhibitor] }', root="remediator") == []
    assert told("{ receiver: page, matchers: [a=b], continue: true }", "{ matchers: [] }", root="remediator") == []


@pytest.mark.parametrize(
    ("taking", "spelled"),
    [
        pytest.param("matchers: ['severity=\"critical\"']", '{severity="critical"}', id="matchers"),
        pytest.param("match: { severity: critical }", '{severity="critical"}', id="match"),
        pytest.param("match_re: { severity: 'c.*' }", '{severity=~"c.*"}', id="match_re"),
        pytest.param("matchers: ['a!=b', 'alertname=~\".*\"']", '{a!="b"}', id="what says nothing is left out"),
        pytest.param("matchers: ['env=~\".+\"']", '{env=~".+"}', id="a label that may be missing"),
        pytest.param("matchers: ['a=~\"(\"']", '{a=~"("}', id="what we cannot read"),
    ],
)
def test_an_earlier_sibling_that_keeps_what_it_takes_is_warned_of(taking: str, spelled: str) -> None:
    [complaint] = told(f"{{ receiver: page, {taking} }}", OURS, "{ receiver: remediator, matchers: [x=y] }")

    assert complaint.startswith("warning 2:")
    assert f"route.routes[0] takes alerts that are {spelled} before route.routes[1], and leads elsewhere" in complaint
    assert complaint.endswith("they never reach 'remediator', neither by webhook nor by poll")


def test_the_siblings_of_a_route_above_ours_take_alerts_too() -> None:
    nested = "{ receiver: page, matchers: [team=a], routes: [ { receiver: remediator } ] }"

    complaints = told("{ receiver: page, matchers: [severity=critical] }", nested)

    assert [each.partition(" ")[0] for each in complaints] == ["warning", "note"]
    assert "before route.routes[1].routes[0], and leads elsewhere" in complaints[0]


def test_a_child_of_ours_that_leads_elsewhere_takes_alerts_from_us() -> None:
    [complaint] = told("{ receiver: page, matchers: [severity=critical], continue: true }", root="remediator")

    assert complaint.startswith("warning 2:")
    assert 'route.routes[0] takes alerts that are {severity="critical"} from route, and leads elsewhere' in complaint


@pytest.mark.parametrize(
    "everything",
    [
        pytest.param("matchers: ['alertname=~\".*\"']", id="any name"),
        pytest.param("match_re: { alertname: '.*' }", id="match_re"),
        pytest.param("match_re: { alertname: '.+' }", id="a name at all"),
        pytest.param("matchers: ['alertname!=\"\"']", id="no empty name"),
        pytest.param("matchers: ['env=~\".*\"']", id="any value, or none"),
        pytest.param("matchers: ['env=~\"^(?:prod|.*)$\"']", id="anchored, in parentheses, one of several"),
        pytest.param('matchers: [\'{alertname=~".+", env=~"(.*)"}\']', id="two that say nothing"),
        pytest.param("object_matchers: [[alertname, '=~', '.*']]", id="Grafana's way"),
    ],
)
def test_regular_expressions_that_match_everything_take_everything(everything: str) -> None:
    [shadowed] = told(f"{{ receiver: page, {everything} }}", OURS)
    [starving] = told(f"{{ receiver: remediator, {everything} }}", "{ receiver: page }")
    [overtaken] = told(f"{{ receiver: page, {everything} }}", root="remediator")

    assert "route.routes[1] is never reached: route.routes[0] matches every alert before it" in shadowed
    assert "route.routes[0] takes every alert and keeps it" in starving
    assert "route is never told: route.routes[0] below it matches every alert" in overtaken


def test_a_route_before_ours_that_asks_no_more_than_ours_leaves_it_nothing() -> None:
    [complaint] = told(
        "{ receiver: page, matchers: ['team=~\"a|b\"'] }", "{ receiver: remediator, matchers: [team=a] }"
    )

    assert complaint.startswith("error 3:3 route.routes[1] is never reached: route.routes[0] matches every alert of it")


def test_a_catch_all_of_ours_that_does_not_go_on_starves_whoever_is_below() -> None:
    starving = "{ receiver: remediator }"

    [complaint] = told(starving, "{ receiver: page, matchers: [severity=critical] }", "{ receiver: slack }")
    nested = told(f"{{ receiver: page, routes: [ {starving}, {{ matchers: [a=b] }} ] }}")

    assert complaint.startswith(
        "error 2:3 route.routes[0] takes every alert and keeps it: whoever is below it is never"
    )
    assert complaint.endswith("route.routes[1] ('page'), route.routes[2] ('slack')")
    assert len(nested) == 1
    assert told(starving, '{ receiver: "null", matchers: [alertname=Watchdog] }', "{ receiver: remediator }") == []


@pytest.mark.parametrize(
    ("above", "own", "is_excluded"),
    [
        pytest.param("a=b", "a=c", True, id="two values"),
        pytest.param("a=b", "a!=b", True, id="a value and its opposite"),
        pytest.param("'a=~\"b|c\"'", "'a=~\"d|e\"'", True, id="lists that share nothing"),
        pytest.param("a=b", "'a=~\"c.*\"'", True, id="a pattern that does not match the value"),
        pytest.param("'a=~\"b|c\"'", "a=c", False, id="one of the list"),
        pytest.param("'a=~\"b.*\"'", "'a=~\"c.*\"'", False, id="patterns are not compared"),
        pytest.param("a=b", "c=d", False, id="other labels"),
    ],
)
def test_a_parent_that_excludes_ours_is_an_error_and_one_that_narrows_it_is_noted(
    above: str, own: str, *, is_excluded: bool
) -> None:
    [complaint] = told(
        f"{{ receiver: page, matchers: [{above}], routes: [ {{ receiver: remediator, matchers: [{own}] }} ] }}"
    )

    if is_excluded:
        assert complaint.startswith("error 2:")
        assert "route.routes[0].routes[0] is never reached: no alert is" in complaint
    else:
        assert complaint.startswith("note 2:")
        assert "come as far as route.routes[0].routes[0]" in complaint


def test_a_subtree_of_a_team_is_noted_once_and_not_where_another_route_has_everything() -> None:
    subtree = (
        "{ receiver: page, matchers: [team=a], routes: [ "
        "{ receiver: remediator, matchers: [b=c] }, { receiver: remediator, continue: true } ] }"
    )

    [note] = told(subtree)

    assert note.startswith("note 2:")
    assert 'only alerts that are {team="a"} come as far as route.routes[0].routes[0]' in note
    assert told(OURS, subtree) == []
    assert told(subtree, root="remediator") == []
    assert told("{ receiver: remediator, matchers: [team=a], routes: [ { matchers: [a=b], group_wait: 1s } ] }") == []


UNIVERSE = [
    {"alertname": "X", **{name: value for name, value in zip("ab", values, strict=True) if value}}
    for values in itertools.product(["", "1", "2", "3"], repeat=2)
]
PLAIN = ['a="1"', 'a="2"', 'b="1"', 'b="2"', 'a=~".*"', 'alertname=~".+"']
ANY = [*PLAIN, 'a!="1"', 'a!="2"', 'b!="1"', 'a=~"1|2"', 'b=~"2|3"']


def trees(matchers: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    receiver = st.sampled_from(["remediator", "page", "slack"])
    node = {
        "receiver": receiver,
        "matchers": st.lists(st.sampled_from(matchers), max_size=2),
        "continue": st.booleans(),
    }
    child = {**node, "routes": st.lists(st.fixed_dictionaries(node), max_size=2)}
    return st.fixed_dictionaries(
        {"receiver": receiver, "routes": st.lists(st.fixed_dictionaries(child), min_size=1, max_size=4)}
    )


HELD_AGAINST_ITS_ROUTING = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@HELD_AGAINST_ITS_ROUTING
@given(trees(ANY))
def test_what_is_said_never_to_be_told_never_is_and_silence_means_that_all_is_told(tree: dict[str, Any]) -> None:
    notified = [dict(notified_of(tree, labels, "route")) for labels in UNIVERSE]

    messages = about_routes(tree)

    for message in messages:
        path, _, rest = message.partition(" ")
        if rest.startswith(("is never reached", "is never told")):
            assert not any(path in each for each in notified), message
    is_flat = not any(child["routes"] for child in tree["routes"])  # one that leads to us in part is meant to
    if is_flat and is_open(tree) and not messages:
        assert all("remediator" in each.values() for each in notified)


@HELD_AGAINST_ITS_ROUTING
@given(trees(PLAIN))
def test_who_is_said_to_take_alerts_from_us_does(tree: dict[str, Any]) -> None:
    """Not so where several routes together leave it nothing: that takes `!=` or a list, and is not looked into."""
    told_to = [(labels, dict(notified_of(tree, labels, "route")).values()) for labels in UNIVERSE]
    lost = [labels for labels, receivers in told_to if "remediator" not in receivers]

    messages = about_routes(tree)

    for message in messages:
        path, _, rest = message.partition(" ")
        if rest.startswith("takes alerts"):
            assert any(holds(node_at(tree, path), labels) for labels in lost), message


def about_routes(tree: Mapping[str, Any]) -> list[str]:
    text = yaml.safe_dump({"route": dict(tree), "receivers": yaml.safe_load(RECEIVERS)["receivers"]})
    problems = lint_alertmanager(load_foreign(text, "am.yml"), "remediator", is_polled=True)
    return [problem.message for problem in problems if problem.message.startswith("route")]


def node_at(tree: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    for number in re.findall(r"\d+", path):
        tree = tree["routes"][int(number)]
    return tree


def notified_of(node: Mapping[str, Any], labels: Mapping[str, str], path: str) -> Iterator[tuple[str, str]]:
    found = []
    for number, child in enumerate(node.get("routes", ())):
        if holds(child, labels):
            found.extend(notified_of(child, labels, f"{path}.routes[{number}]"))
            if not child["continue"]:
                break
    yield from found or [(path, node["receiver"])]


def holds(node: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return all(matcher.holds(labels) for text in node["matchers"] for matcher in parse_matchers(text))


def is_open(node: Mapping[str, Any]) -> bool:
    return not node.get("matchers") and (node["receiver"] == "remediator" or any(map(is_open, node.get("routes", ()))))
