"""What an alert opens: the first rule by priority, its policy, the safer mode, a target or the reason why not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from remediator.domain.alert import Alert, AlertStatus
from remediator.domain.errors import BadDocument, NotFound
from remediator.domain.ids import Fingerprint, SourceName
from remediator.domain.mode import Mode
from remediator.domain.target import Target
from tests.rules.folder import RULE, load_with

LABELS = {"alertname": "ServiceDown", "deployment": "backend", "namespace": "prod"}


def alert(**labels: str) -> Alert:
    return Alert(
        source=SourceName("alertmanager"),
        fingerprint=Fingerprint("f1"),
        status=AlertStatus.FIRING,
        labels={name: value for name, value in (LABELS | labels).items() if value},
        starts_at=datetime(2026, 1, 5, 10, tzinfo=UTC),
    )


def test_a_matching_alert_opens_an_incident_for_its_target(tmp_path: Path) -> None:
    rulebook = load_with(tmp_path).rulebook

    opening = rulebook.opening(alert(), ceiling=Mode.ACT)

    assert opening is not None
    assert opening.target == Target("deployment", "backend", "prod")
    assert opening.run_key == "service-down/deployment/prod/backend"
    assert opening.title == "ServiceDown on deployment/prod/backend"
    assert (opening.policy.name, opening.severity.name, opening.first_page_in) == ("on-call", "sev1", timedelta())
    assert opening.entries == ()


def test_an_alert_that_no_rule_matches_opens_nothing(tmp_path: Path) -> None:
    assert load_with(tmp_path).rulebook.opening(alert(alertname="Other"), ceiling=Mode.ACT) is None


@pytest.mark.parametrize(("label", "value"), [("deployment", ""), ("namespace", ""), ("deployment", "x; rm -rf /")])
def test_without_a_sound_target_the_incident_opens_with_none_and_says_so(
    tmp_path: Path, label: str, value: str
) -> None:
    opening = load_with(tmp_path).rulebook.opening(alert(**{label: value}), ceiling=Mode.ACT)

    assert opening is not None
    assert opening.target is None
    assert opening.run_key == "service-down/alertmanager/f1"
    assert opening.entries[0].message.startswith("no target, so no fix: ")


@pytest.mark.parametrize(
    ("ceiling", "written", "mode"),
    [(Mode.OBSERVE, "act", Mode.OBSERVE), (Mode.ACT, "suggest", Mode.SUGGEST), (Mode.ACT, "act", Mode.ACT)],
)
def test_a_rule_lowers_the_ceiling_and_never_raises_it(tmp_path: Path, ceiling: Mode, written: str, mode: Mode) -> None:
    rulebook = load_with(tmp_path, service_down=f"{RULE}mode: {written}\n").rulebook

    opening = rulebook.opening(alert(), ceiling=ceiling)

    assert opening is not None
    assert opening.mode is mode


@pytest.mark.parametrize(
    ("added", "severity", "first_page_in"),
    [
        ("", "sev3", timedelta(hours=4)),
        ("respond_within: 5m\n", "sev3", timedelta(minutes=5)),
        ("escalate: { after: at_once }\n", "sev3", timedelta()),
        ("escalate: { after: verify }\n", "sev1", timedelta(minutes=15)),
    ],
)
def test_a_fix_has_until_its_deadline_and_no_longer(
    tmp_path: Path, added: str, severity: str, first_page_in: timedelta
) -> None:
    text = RULE.replace("severity: sev1", f"severity: {severity}") + added
    opening = load_with(tmp_path, service_down=text).rulebook.opening(alert(), ceiling=Mode.ACT)

    assert opening is not None
    assert opening.first_page_in == first_page_in


@pytest.mark.parametrize(("label", "severity", "entries"), [("sev3", "sev3", 0), ("sev9", "sev1", 1), ("", "sev1", 1)])
def test_a_severity_nobody_knows_is_taken_as_the_most_urgent(
    tmp_path: Path, label: str, severity: str, entries: int
) -> None:
    text = RULE.replace("severity: sev1", "severity: ${{ alert.labels.severity }}")
    opening = load_with(tmp_path, service_down=text).rulebook.opening(alert(severity=label), ceiling=Mode.ACT)

    assert opening is not None
    assert opening.severity.name == severity
    assert len(opening.entries) == entries


def test_the_higher_priority_is_used_and_the_other_is_known_too(tmp_path: Path) -> None:
    rulebook = load_with(tmp_path, zz=RULE.replace("service-down", "special\npriority: 5")).rulebook

    assert [rule.name for rule in rulebook.matching(alert())] == ["special", "service-down"]


def test_a_stored_rule_is_the_rule_it_was(tmp_path: Path) -> None:
    rulebook = load_with(tmp_path).rulebook
    (rule,) = rulebook.rules

    again = rulebook.compile_document(rule.document)

    assert again.version == rule.version
    assert rulebook.version(rule.version) is rule


def test_a_change_of_the_rule_is_a_new_version_and_a_comment_is_none(tmp_path: Path) -> None:
    (rule,) = load_with(tmp_path / "a").rulebook.rules
    (commented,) = load_with(tmp_path / "b", service_down=f"# why\n{RULE}").rulebook.rules
    (changed,) = load_with(tmp_path / "c", service_down=RULE.replace("10m", "11m")).rulebook.rules

    assert commented.version == rule.version
    assert changed.version != rule.version


def test_a_stored_rule_that_is_no_longer_understood_is_refused(tmp_path: Path) -> None:
    rulebook = load_with(tmp_path).rulebook

    with pytest.raises(BadDocument, match="cannot read the stored rule"):
        rulebook.compile_document({"rule": "old"})


def test_channels_are_known_by_name(tmp_path: Path) -> None:
    rulebook = load_with(tmp_path).rulebook

    assert rulebook.notifier("ops").yaml_name() == "console"
    with pytest.raises(NotFound, match="no channel 'gone'"):
        rulebook.notifier("gone")
