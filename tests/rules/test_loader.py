"""A folder is read whole: what is sound is kept, and everything that is wrong is told at its place."""

import errno
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from remediator.actions.delete_pod import DeletePod
from remediator.actions.flush_cache import FlushCache
from remediator.domain.errors import BadDocument
from remediator.domain.finding import Finding
from remediator.domain.incident import Progress
from remediator.domain.target import Target
from remediator.domain.verdict import Deny
from remediator.language.document import Severity
from remediator.rules.decide import Chosen, choose_step, judge_all
from remediator.rules.loader import Loaded, load_rules
from remediator.rules.rule import CannotBuild
from remediator.rules.values import values_of
from tests.actions.bench import incident_of
from tests.guards.proposals import ledger, propose
from tests.rules.folder import RULE, SEVERITIES, load_with, write_rules

GUARDS = "guards: [{ use: cooldown, for: 1h }]\n"
SHIPPED = Path(__file__).parents[2] / "rules"
HOURS = "business_hours: { timezone: Europe/Berlin }\n"


def told(folder: Path, **files: str) -> list[str]:
    """`line:column message: hint`, of every problem."""
    problems = load_with(folder, **files).problems
    return [f"{p.line}:{p.column} {p.message}{f': {p.hint}' if p.hint else ''}" for p in problems]


def test_a_sound_folder_has_no_problems(tmp_path: Path) -> None:
    loaded = load_with(tmp_path)

    assert loaded.problems == ()
    assert [rule.name for rule in loaded.rulebook.rules] == ["service-down"]


def test_a_rule_knows_everything_its_document_says(tmp_path: Path) -> None:
    (rule,) = load_with(tmp_path).rulebook.rules

    assert rule.fix[0].plugin is DeletePod
    assert rule.fix[0].path == "fix[0]"
    assert rule.diagnose["pods"].path == "diagnose.pods"
    assert rule.verify.checks[0].path == "verify.checks[0]"
    assert (rule.verify.within, rule.verify.steady_for) == (timedelta(minutes=10), timedelta(minutes=1))
    assert rule.document["rule"] == "service-down"


@pytest.mark.parametrize(
    ("written", "instead", "problem"),
    [
        pytest.param("summary:", "sumary:", "2:1 unknown key 'sumary': did you mean 'summary'?", id="misspelt key"),
        pytest.param(
            "use: pod_status",
            "use: pod_statu",
            "10:16 there is no diagnostic 'pod_statu': did you mean 'pod_status'?",
            id="misspelt plug-in",
        ),
        pytest.param("use: delete_pod", "usr: delete_pod", "12:5 'use' is missing: it names the action", id="no use"),
        pytest.param("pods: ${{", "pod: ${{", "14:5 unknown key 'pod': did you mean 'pods'?", id="misspelt parameter"),
        pytest.param(
            "    when:", "    at_most: 0\n    when:", "13:14 0 should be greater than or equal to 1", id="a bound"
        ),
        pytest.param(
            "failing_names", "failing", "14:11 pods wants list(string), this gives int", id="an expression's type"
        ),
        pytest.param(
            "within: 10m", "within: 10", "16:11 10 is not a duration: it has no unit, write 10s or 10m", id="no unit"
        ),
        pytest.param("within: 10m", "within: 8000y", "16:11 2920000d is not between 0s and 366d", id="no end to it"),
        pytest.param("steady_for: 1m", "steady_for: 367d", "17:15 367d is not between 0s and 366d", id="a year steady"),
        pytest.param(
            "use: delete_pod\n",
            "{ use: scale, by: 1, undo_after: 8000y }\n  - use: delete_pod\n",
            "12:38 2920000d is not between 1s and 366d",
            id="a lease for ever",
        ),
        pytest.param(
            "use: delete_pod\n",
            "{ use: scale, by: 1, undo_after: 0s }\n  - use: delete_pod\n",
            "12:38 0s is not between 1s and 366d",
            id="a lease for no time",
        ),
        pytest.param(
            "{ use: pod_status }",
            "{ use: recent_events, within: 8000y }",
            "10:39 2920000d is not between 0s and 366d",
            id="events of all time",
        ),
        pytest.param(
            "severity: sev1",
            "severity: sev2",
            "5:11 there is no severity 'sev2' with a policy: did you mean 'sev3'?",
            id="unknown severity",
        ),
        pytest.param("rule: service-down", "rule: Service Down", "1:7 ", id="a name that is none"),
        pytest.param(
            "  deployment: ${{ alert.labels.deployment }}",
            "  deployment: ${{ alert.lables.deployment }}",
            "7:19 ",
            id="misspelt variable",
        ),
        pytest.param("ServiceDown\"}'", "ServiceDown'", "4:", id="a matcher that does not end"),
        pytest.param("alertname=", "alertname!=", "4:", id="a matcher that takes everything"),
        pytest.param("use: workload_ready", "use: workload_redy", "19:12 there is no check", id="misspelt check"),
        pytest.param("  namespace: ${{ alert.labels.namespace }}\n", "", "6:1 a deployment needs a namespace", id="ns"),
        pytest.param("  deployment:", "  node: a\n  deployment:", "7:3 a target is one thing", id="two targets"),
        pytest.param(
            "${{ alert.labels.deployment }}", "Back_End", "6:1 target deployment: 'Back_End' is not", id="no such name"
        ),
        pytest.param(
            "verify:",
            "links:\n  Errors: javascript:alert(1)\nverify:",
            "16:11 'javascript:alert(1)' is no link: write it like https://grafana.example.com/d/errors",
            id="a link to a script",
        ),
        pytest.param(
            "verify:",
            "links:\n  Errors: https://a.example.invalid/${{ alert.labels.job }}\nverify:",
            "16:11 a link takes no ${{ }}: write it out",
            id="a link that asks the alert",
        ),
        pytest.param(
            "verify:",
            'links:\n  "": https://a.example.invalid/\nverify:',
            "16:7 '' is no name for a link",
            id="a link without a name",
        ),
    ],
)
def test_what_is_wrong_is_told_at_its_place(tmp_path: Path, written: str, instead: str, problem: str) -> None:
    assert written in RULE
    problems = told(tmp_path, service_down=RULE.replace(written, instead))

    assert any(each.startswith(problem) for each in problems), problems


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("diagnose.pods.failling > 0", "did you mean"),
        ("diagnose.pod.failing > 0", "did you mean"),
        ("diagnose.pods.failing > 'two'", "int"),
        ("diagnose.pods.failing", "a condition must be true or false, this is int"),
        ("diagnose.pods.failing >", ""),
    ],
)
def test_a_condition_is_type_checked_against_what_the_looks_find(tmp_path: Path, condition: str, problem: str) -> None:
    (only,) = told(tmp_path, service_down=RULE.replace("diagnose.pods.failing > 0", condition))

    assert only.startswith("13:")
    assert problem in only


def test_a_position_inside_an_expression_counts_on_in_the_file(tmp_path: Path) -> None:
    (only,) = told(
        tmp_path, service_down=RULE.replace("diagnose.pods.failing > 0", "1 > 0 && diagnose.pods.failling > 0")
    )

    assert only.startswith("13:20 "), only


def test_all_problems_are_told_and_not_only_the_first(tmp_path: Path) -> None:
    broken = RULE.replace("summary:", "sumary:").replace("failing_names", "names").replace("workload_ready", "ready")

    problems = told(tmp_path, service_down=broken, oncall__people="people:\n  alice: { name: Alice }\n")

    places = sorted(int(each.partition(":")[0]) for each in problems)
    assert {2, 14, 19} <= set(places), problems


def test_a_broken_diagnostic_does_not_make_its_facts_a_second_problem(tmp_path: Path) -> None:
    assert len(told(tmp_path, service_down=RULE.replace("use: pod_status", "use: nothing_like_it"))) == 1


def test_one_broken_file_does_not_take_down_the_others(tmp_path: Path) -> None:
    loaded = load_with(tmp_path, broken="rule: [", other=RULE.replace("service-down", "other").replace("sev1", "none"))

    assert [rule.name for rule in loaded.rulebook.rules] == ["service-down"]
    assert loaded.has_errors


@pytest.mark.parametrize(
    ("written", "place"),
    [
        pytest.param("${{ alert.labels.deployment }}", "7:15", id="a target"),
        pytest.param("${{ alert.labels.namespace }}", "8:14", id="its namespace"),
        pytest.param("sev1", "5:11", id="a severity"),
        pytest.param("${{ diagnose.pods.failing_names }}", "14:11", id="what an action does"),
    ],
)
def test_a_text_that_no_template_may_give_takes_down_its_own_file_alone(
    tmp_path: Path, written: str, place: str
) -> None:
    """It ended the whole load, or was told at night."""
    long = RULE.replace("service-down", "other").replace(written, "a" * 70_000)

    loaded = load_with(tmp_path, other=long)

    assert [rule.name for rule in loaded.rulebook.rules] == ["service-down"]
    [problem] = [f"{p.line}:{p.column} {p.message}" for p in loaded.problems if p.severity is Severity.ERROR]
    assert problem == f"{place} the text has 70000 characters, more than 65536"


def test_two_rules_of_one_name_are_one_too_many(tmp_path: Path) -> None:
    problems = told(tmp_path, zz=RULE)

    assert any("there is another rule 'service-down'" in each for each in problems)


def test_a_rule_that_is_never_reached_is_a_warning(tmp_path: Path) -> None:
    later = RULE.replace("rule: service-down", "rule: later").replace('"}', '", team="a"}')

    (problem,) = load_with(tmp_path, zz=later).problems

    assert problem.severity is Severity.WARNING
    assert problem.message == "never reached: service-down matches the same alerts first"


def test_a_higher_priority_reaches_it_again(tmp_path: Path) -> None:
    later = RULE.replace("rule: service-down", "rule: later\npriority: 1").replace('"}', '", team="a"}')

    assert load_with(tmp_path, zz=later).problems == ()


def test_a_fix_needs_a_target_and_a_fix_without_proof_is_a_warning(tmp_path: Path) -> None:
    without = (
        RULE[: RULE.index("verify:")]
        .replace("target:\n", "")
        .replace("  deployment: ${{ alert.labels.deployment }}\n", "")
    )
    without = without.replace("  namespace: ${{ alert.labels.namespace }}\n", "")

    problems = told(tmp_path, service_down=without)

    assert [each.partition(" ")[2] for each in problems] == [
        "a fix needs a target: say what it may touch",
        "nothing proves this fix: without `verify` a person is always paged",
    ]


POD = (
    RULE.replace("deployment: ${{ alert.labels.deployment }}", "pod: ${{ alert.labels.pod }}")
    .replace("    pods: ${{ diagnose.pods.failing_names }}\n", "")
    .replace("use: workload_ready", "use: alert_resolved")
)


def test_the_end_of_a_deleted_pod_s_own_alert_is_no_proof(tmp_path: Path) -> None:
    loaded = load_with(tmp_path, service_down=POD)

    [problem] = loaded.problems
    assert (problem.line, problem.column) == (17, 3)
    assert problem.message == "this proves nothing: the alert of a pod that is deleted resolves, whatever is wrong"
    assert not loaded.has_errors


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(POD + "    - { use: http, url: 'http://backend/health' }\n", id="something else is looked at"),
        pytest.param(RULE.replace("use: workload_ready", "use: alert_resolved"), id="the alert is of its workload"),
        pytest.param(
            POD.replace("use: delete_pod", "use: flush_cache\n    connection: cache\n    pattern: 'feed:*'"),
            id="the pod stays",
        ),
    ],
)
def test_the_end_of_an_alert_may_be_proof(tmp_path: Path, text: str) -> None:
    assert told(tmp_path, service_down=text) == []


def test_an_action_is_not_used_on_what_it_does_not_work_on(tmp_path: Path) -> None:
    redis = RULE.replace(
        "  deployment: ${{ alert.labels.deployment }}\n  namespace: ${{ alert.labels.namespace }}", "  redis: cache"
    )

    problems = told(tmp_path, service_down=redis)

    assert any("delete_pod works on" in each and "not on a redis" in each for each in problems)


@pytest.mark.parametrize(
    ("written", "place", "timeout"),
    [
        ("use: pod_status", "10:37", "6m"),
        ("use: workload_ready", "20:16", "500ms"),
        ("use: delete_pod", "13:14", "1h"),
    ],
)
def test_no_step_takes_longer_than_its_incident_can_wait(
    tmp_path: Path, written: str, place: str, timeout: str
) -> None:
    between = ", " if written == "use: pod_status" else "\n" + " " * (4 if written == "use: delete_pod" else 6)
    text = RULE.replace(written, f"{written}{between}timeout: {timeout}")

    [problem] = told(tmp_path, service_down=text)

    assert problem.startswith(f"{place} {timeout} is not between 1s and 5m: its incident stands still meanwhile, ")
    assert problem.endswith("let it do less at once")


TARGET = RULE[RULE.index("target:") : RULE.index("diagnose:")]


@pytest.mark.parametrize(
    ("look", "target", "problem"),
    [
        ("pod_status", "redis: cache", "pod_status works on deployment, statefulset, daemonset, pod, not on a redis"),
        ("pod_logs", "node: n1", "pod_logs works on deployment, statefulset, daemonset, pod, not on a node"),
        ("recent_events", "node: n1", "recent_events works on deployment, statefulset, daemonset, pod, not on a node"),
        ("pod_usage", "pod: p, namespace: a", "pod_usage works on deployment, statefulset, daemonset, not on a pod"),
        ("rollout_history", "daemonset: d, namespace: a", "rollout_history works on deployment, not on a daemonset"),
    ],
)
def test_a_look_is_not_taken_at_what_it_cannot_look_at(tmp_path: Path, look: str, target: str, problem: str) -> None:
    text = RULE[: RULE.index("fix:")].replace(TARGET, f"target: {{ {target} }}\n").replace("pod_status", look)

    assert told(tmp_path, service_down=text) == [f"8:16 {problem}"]


def test_a_check_is_not_used_on_what_it_cannot_look_at(tmp_path: Path) -> None:
    flush = "fix:\n  - { use: flush_cache, connection: cache, pattern: 'feed:*' }\n"
    text = RULE.replace(TARGET, "target: { redis: cache }\n").replace(
        "{ use: pod_status }", "{ use: sql_query, connection: main }"
    )
    text = text.replace(text[text.index("fix:") : text.index("verify:")], flush)

    [problem] = told(tmp_path, service_down=text)

    assert problem == "15:12 workload_ready works on deployment, statefulset, daemonset, pod, not on a redis"


def test_a_look_at_a_target_needs_one(tmp_path: Path) -> None:
    text = RULE[: RULE.index("fix:")].replace(TARGET, "")

    [problem] = told(tmp_path, service_down=text + "  cache: { use: redis_command, connection: cache }\n")

    assert problem.startswith("7:16 pod_status works on deployment")
    assert problem.endswith("and this rule has no target: name it under `target`")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        pytest.param("CONFIG GET requirepass", "11:60 CONFIG is not on the list", id="a line"),
        pytest.param("[CONFIG, GET, requirepass]", "11:61 CONFIG is not on the list", id="words"),
        pytest.param("[KEYS, '${{ alert.labels.prefix }}']", "11:61 KEYS is not on the list", id="one word is known"),
        pytest.param("[SLOWLOG, RESET]", "11:70 SLOWLOG RESET is not on the list", id="the second word"),
        pytest.param("SLOWLOG GET 1000", "11:60 SLOWLOG GET takes a number from 1 to 128", id="a number"),
    ],
)
def test_a_redis_command_that_is_no_look_is_told_at_its_place(tmp_path: Path, command: str, problem: str) -> None:
    [told_of_it] = told(tmp_path, service_down=looking_at_redis(command))

    assert told_of_it.startswith(problem)


def test_what_a_redis_command_is_about_may_be_known_at_night_only(tmp_path: Path) -> None:
    assert told(tmp_path, service_down=looking_at_redis("[GET, 'depth:${{ alert.labels.queue }}']")) == []


@pytest.mark.parametrize(
    ("look", "problem"),
    [
        pytest.param(
            "use: sql_query, connection: main, query: \"SELECT '${{ alert.labels.user }}'\"",
            "11:61 no value can stand in this text: write $1 in its place, and the value under `parameters`",
            id="SQL",
        ),
        pytest.param(
            "use: http_get, url: 'http://${{ alert.labels.instance }}/health'",
            "11:39 whoever sends an alert must not choose whom we call: write scheme and host out; "
            "values may follow in the path and the query",
            id="URL",
        ),
        pytest.param(
            "use: promql, query: 'up{${{ alert.labels.pair }}}'",
            "11:35 a value can stand only between the quotes of a label's value: "
            'write it like up{pod="${{ alert.labels.pod }}"}',
            id="PromQL",
        ),
    ],
)
def test_a_label_that_would_become_part_of_a_text_is_told_at_its_place(tmp_path: Path, look: str, problem: str) -> None:
    assert told(tmp_path, service_down=RULE.replace("fix:\n", f"  look: {{ {look} }}\nfix:\n", 1)) == [problem]


def test_a_label_does_not_choose_which_keys_are_flushed(tmp_path: Path) -> None:
    """Of a tenant called `s` it would have been every session."""
    flush = '  - { use: flush_cache, connection: cache, pattern: "${{ alert.labels.tenant }}*" }\n'

    [problem] = told(tmp_path, service_down=RULE.replace("verify:\n", f"{flush}verify:\n", 1))

    assert problem.startswith("15:54 whoever sends an alert must not choose whose keys are meant: write out how")


def test_what_an_alert_says_is_literal_in_a_pattern(tmp_path: Path) -> None:
    flush = '  - { use: flush_cache, connection: cache, pattern: "tenant:${{ alert.labels.tenant }}:*" }\n'
    (rule,) = load_with(tmp_path, service_down=RULE.replace("verify:\n", f"{flush}verify:\n", 1)).rulebook.rules

    built = rule.fix[1].build({"alert.labels": {"tenant": "*"}})

    assert isinstance(built, FlushCache)
    assert built.pattern == r"tenant:\*:*"
    with pytest.raises(CannotBuild, match="is empty"):
        rule.fix[1].build({"alert.labels": {"tenant": ""}})


def looking_at_redis(command: str) -> str:
    look = f"  depth: {{ use: redis_command, connection: cache, command: {command} }}\n"
    return RULE.replace("fix:\n", f"{look}fix:\n", 1)


def schedule(**parts: str) -> str:
    written = {"participants": "alice", "starts_on": "2024-01-01T09:00"} | parts
    return f"schedules:\n  primary: {{ {', '.join(f'{name}: {value}' for name, value in written.items())} }}\n"


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        (
            "escalation__on_call",
            "policy: on-call\nsteps:\n  - page: primry\n",
            "there is no schedule, person or channel 'primry': did you mean 'primary'?",
        ),
        (
            "oncall__people",
            "people:\n  alice:\n    name: A\n    reach: [{ channel: opps }]\n",
            "there is no channel 'opps': did you mean 'ops'?",
        ),
        ("oncall__schedules", schedule(participants="alic"), "there is no person 'alic': did you mean 'alice'?"),
        ("oncall__schedules", schedule(turn="12h"), "a turn is whole days: write it like 1d or 1w"),
        ("oncall__schedules", schedule(turn="500000w"), "3500000d is not between 0s and 366d"),
        ("oncall__schedules", schedule(timezone="Berlin"), "'Berlin' is not a time zone"),
        ("oncall__schedules", schedule(starts_on="monday"), "'monday' is not a moment"),
        ("oncall__schedules", schedule(starts_on="20260105"), "20260105 is not a moment"),
        ("oncall__schedules", schedule(starts_on="2026-01-05T09:00Z"), "carries an offset"),
        (
            "oncall__schedules",
            schedule(overrides="[{ person: bob, starts: 2026-01-06T09:00, ends: 2026-01-05T09:00 }]"),
            "it ends before it starts",
        ),
        (
            "oncall__channels",
            "channels:\n  ops: { use: consol }\n",
            "there is no notifier 'consol': did you mean 'console'?",
        ),
        ("odd", "gaurds: []\n", "what kind of document is this?: did you mean 'guards'?"),
        ("guards", "guards: [{ use: attempts, at_most: 0, within: 1h }]\n", "0 should be greater than or equal to 1"),
        (
            "policy",
            "policy: p\nsteps: [{ page: [ops] }]\nrepeat_every: 0\n",
            "3:15 0s is not between 1s and 366d",
        ),
        (
            "oncall__channels",
            "channels:\n  ops: { use: console, timeout: 45s }\n",
            "45s is not between 100ms and 15s",
        ),
        ("guards", "guards: [{ use: cooldown, for: '${{ alert.name }}' }]\n", "alert"),
        ("guards", "guards: [{ use: attempts, at_most: '${{ 1 / 0 }}', within: 1h }]\n", "divide by zero"),
        ("guards", "guards: [{ use: attempts, at_most: '${{ 1 - 1 }}', within: 1h }]\n", "greater than or equal to 1"),
        ("guards", "guards: [{ use: attempts, at_most: 1, within: 60d }]\n", "60d is not between 0s and 31d"),
        ("guards", "guards: [{ use: cooldown, for: 32d }]\n", "32d is not between 0s and 31d"),
        ("guards", "guards: []\nbusiness_hours: { starts: '09:00+02:00' }\n", "carries an offset"),
        ("guards", "guards: []\nbusiness_hours: { ends: 17 }\n", "17 is not a time of day"),
    ],
)
def test_names_that_stand_for_nothing_are_told(tmp_path: Path, file: str, text: str, problem: str) -> None:
    problems = told(tmp_path, **{file: text})

    assert any(problem in each for each in problems), problems


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"guards": "guards: [{ use: nothing }]\n"}, id="an unknown guard"),
        pytest.param({"guards": "guards: 3\n"}, id="no list of guards"),
        pytest.param({"guards": "guards:\n  - ["}, id="no YAML"),
        pytest.param({"guards": "guards: [{ use: attempts, at_most: '${{ 1 / 0 }}', within: 1h }]\n"}, id="no value"),
        pytest.param({"guards": "gaurds: [{ use: cooldown, for: 1h }]\n"}, id="misspelt guards"),
        pytest.param({"limits": f"{HOURS}gaurds: [{{ use: cooldown, for: 1h }}]\n"}, id="misspelt, not the first key"),
        pytest.param({"limits": HOURS}, id="business hours without guards"),
        pytest.param({"limits": "busines_hours: {}\ngaurds: []\n"}, id="all of it misspelt"),
        pytest.param({"limits": "guard: [{ use: cooldown, for: 1h }]\n"}, id="a rule's word, without a rule"),
        pytest.param({"severities": SEVERITIES + GUARDS}, id="in one document with something else"),
        pytest.param({"service_down": RULE + GUARDS}, id="in one document with a rule"),
        pytest.param({"limits": "gaurds:\n  - ["}, id="misspelt, and no YAML"),
        pytest.param({"limits": "{ guards: ["}, id="in braces, and no YAML"),
        pytest.param({"limits": "business_hours: ["}, id="business hours, and no YAML"),
        pytest.param({"guards": "\n"}, id="emptied"),
        pytest.param({"guards": "# not written yet\n"}, id="nothing but a comment"),
        pytest.param({"guards": "- { use: cooldown, for: 1h }\n"}, id="no key at all"),
        pytest.param({"a": HOURS + GUARDS, "b": HOURS + GUARDS}, id="two business hours"),
    ],
)
def test_guards_that_cannot_be_read_stop_every_fix(tmp_path: Path, files: dict[str, str]) -> None:
    loaded = load_with(tmp_path, **files)

    assert loaded.has_errors
    assert is_closed(loaded)


def is_closed(loaded: Loaded) -> bool:
    judgement = judge_all(loaded.rulebook.guards, propose(), ledger())
    return judgement.verdict == Deny("the global guards cannot be read: nothing is changed until they can")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(RULE.replace("rule: service-down", "rule: other").replace("sev1", "none"), id="a rule"),
        pytest.param("rule: other\ngaurd: [{ use: cooldown, for: 1h }]\n", id="a rule's own guards, misspelt"),
        pytest.param("rule: other\nguard:\n  - [", id="a rule with guards of its own that is no YAML"),
        pytest.param("sevrities: {}\n", id="another kind of document, misspelt"),
    ],
)
def test_what_is_wrong_elsewhere_leaves_the_guards_alone(tmp_path: Path, text: str) -> None:
    loaded = load_with(tmp_path, other=text)

    assert loaded.has_errors
    assert not is_closed(loaded)


def test_business_hours_stay_as_written_whatever_other_guards_there_are(tmp_path: Path) -> None:
    loaded = load_with(tmp_path, a=HOURS + GUARDS, b=GUARDS)

    assert loaded.problems == ()
    assert loaded.rulebook.rules[0].fix[0].approval.hours.timezone == "Europe/Berlin"


def test_business_hours_that_are_written_twice_are_told_with_both_places(tmp_path: Path) -> None:
    assert told(tmp_path, a=HOURS + GUARDS, b=GUARDS + HOURS) == [
        f"2:1 the business hours are written twice: they stand at {tmp_path / 'a.yaml'}:1:1 already"
    ]


def test_mode_and_kill_switch_are_on_guard_without_a_file(tmp_path: Path) -> None:
    assert [guard.yaml_name() for guard in load_with(tmp_path).rulebook.guards] == ["kill_switch", "mode_ceiling"]


def test_hidden_folders_are_not_read_twice(tmp_path: Path) -> None:
    """A ConfigMap's files are links into a folder whose name begins with two dots."""
    loaded = load_with(tmp_path, **{"..2026_01_05/service_down": RULE})

    assert loaded.problems == ()


@pytest.mark.parametrize("name", ["more.yml", "more.YAML", "more.Yml"])
def test_a_file_that_is_not_read_is_an_error(tmp_path: Path, name: str) -> None:
    """A rule whose file is renamed would drop out of a sound set, and nobody would hear of it."""
    (tmp_path / name).write_text(RULE)

    loaded = load_with(tmp_path)

    assert loaded.has_errors
    assert [problem.hint for problem in loaded.problems] == ["rename it: its name must end in .yaml"]
    assert not is_closed(loaded)


@pytest.mark.parametrize("name", ["guards.yml", "limits.yml", "limits.YAML"])
def test_guards_in_a_file_that_is_not_read_stop_every_fix(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(GUARDS)

    loaded = load_with(tmp_path)

    assert loaded.has_errors
    assert is_closed(loaded)


def test_a_link_to_guards_that_are_gone_stops_every_fix(tmp_path: Path) -> None:
    (tmp_path / "guards.yaml").symlink_to("nowhere.yaml")

    loaded = load_with(tmp_path)

    assert loaded.has_errors
    assert not loaded.is_whole
    assert is_closed(loaded)


def test_a_folder_that_cannot_be_listed_may_have_held_the_guards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def stumbling(path: str) -> Iterator[os.DirEntry[str]]:
        if path.endswith("oncall"):
            raise OSError(errno.ESTALE, "stale file handle", path)
        return scandir(path)

    write_rules(tmp_path)
    monkeypatch.setattr(os, "scandir", stumbling)
    loaded = load_rules(tmp_path)

    assert (str(tmp_path / "oncall"), "cannot be read") in {(p.path, p.message[:14]) for p in loaded.problems}
    assert not loaded.is_whole
    assert is_closed(loaded)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match="is not a folder"):
        load_rules(tmp_path / "nowhere")


@pytest.mark.parametrize(("failing", "step"), [(1, "rollback"), (0, "scale")], ids=["pods fail", "all are ready"])
def test_the_shipped_rule_takes_back_only_a_release_whose_pods_fail(failing: int, step: str) -> None:
    [rule] = [each for each in load_rules(SHIPPED).rulebook.rules if each.name == "service-down"]
    facts: dict[str, dict[str, object]] = {
        "rollout": {"age": timedelta(minutes=12), "previous_was_healthy": True},
        "pods": {"failing": failing, "healthy": 3 - failing},
        "usage": {"cpu": 0.9},
    }
    found = {name: Finding(ok=True, summary="", facts=given) for name, given in facts.items()}
    incident = replace(incident_of(Target("deployment", "backend", "prod")), progress=Progress(findings=found))

    choice = choose_step(rule, values_of(incident, now=incident.opened_at), ())

    assert isinstance(choice, Chosen)
    assert rule.fix[choice.index].plugin.yaml_name() == step


def test_the_shipped_rules_are_sound() -> None:
    loaded = load_rules(SHIPPED)

    assert loaded.problems == ()
    assert {rule.name for rule in loaded.rulebook.rules} >= {
        "high-error-rate",
        "service-down",
        "high-response-time",
        "high-memory-usage",
    }
