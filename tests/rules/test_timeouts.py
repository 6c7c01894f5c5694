"""A step that takes longer than the lease lets it is known before the night."""

from datetime import timedelta
from pathlib import Path

import pytest

from remediator.rules.timeouts import misfits
from tests.rules.folder import RULE, load_with

MINUTE = timedelta(minutes=1)


def found(folder: Path, rule: str, lease: timedelta) -> list[str]:
    return list(map(str, misfits(load_with(folder, service_down=rule).rulebook, lease)))


def test_as_shipped_every_step_fits(tmp_path: Path) -> None:
    assert found(tmp_path, RULE, MINUTE) == []


def test_a_write_that_may_take_longer_than_the_lease_is_never_done(tmp_path: Path) -> None:
    slow = RULE.replace("use: delete_pod", "use: delete_pod\n    timeout: 2m")

    [told] = found(tmp_path, slow, MINUTE)

    assert told.startswith("service-down: fix[0]: a timeout of 2m does not fit the lease of 1m, it is never done: ")
    assert told.endswith("give it 48s at most, or raise engine.lease_seconds")


@pytest.mark.parametrize(("timeout", "fits"), [("48s", True), ("49s", False)])
def test_part_of_the_lease_is_for_planning_and_committing(tmp_path: Path, timeout: str, *, fits: bool) -> None:
    look = RULE.replace("use: pod_status", f"use: pod_status, timeout: {timeout}")

    assert (found(tmp_path, look, MINUTE) == []) is fits


def test_what_nobody_wrote_must_fit_too(tmp_path: Path) -> None:
    steps = [misfit.step for misfit in misfits(load_with(tmp_path).rulebook, timedelta(seconds=10))]

    assert steps == ["diagnose.pods", "fix[0]", "verify.checks[0]"]


def test_a_timeout_that_waits_for_an_alert_is_not_known(tmp_path: Path) -> None:
    later = RULE.replace("use: delete_pod", "use: delete_pod\n    timeout: ${{ alert.labels.timeout }}")

    assert found(tmp_path, later, MINUTE) == []
