"""Whether what a rule calls the proof of its fixes can prove anything."""

from collections.abc import Sequence

from remediator.actions import Action
from remediator.actions.delete_pod import DeletePod
from remediator.checks import Check
from remediator.checks.alert_resolved import AlertResolved
from remediator.rules.complaints import Complaints
from remediator.rules.rule import Step


def warn_of_alerts_that_vanish(
    kind: str | None, fix: Sequence[Step[Action]], checks: Sequence[Step[Check]], complaints: Complaints
) -> None:
    """A pod's own alert ends with the pod: its series are gone, whatever becomes of the next one."""
    by_the_alert_alone = bool(checks) and all(check.plugin is AlertResolved for check in checks)
    if kind == "pod" and by_the_alert_alone and any(step.plugin is DeletePod for step in fix):
        complaints.warn(
            ("verify", "checks"),
            "this proves nothing: the alert of a pod that is deleted resolves, whatever is wrong",
            hint="make its workload the target and check workload_ready, or check what it serves",
        )
