"""The rule folder of a fault run: one rule for each kind of trouble, one person with two channels."""

from collections.abc import Sequence
from pathlib import Path

from tests.faults.scenario import Trouble
from tests.system.rules import write_rules

BUDGETS = {trouble.lower(): 1 if trouble is Trouble.HOPELESS else 3 for trouble in Trouble}
"""By rule: so many pods of one workload may be disturbed while a seed lasts, by whichever replica, however often it
crashed. Where no fix helps, the rule would try once more than it may."""

UNWANTED = "Unwanted"
"""The name of the alerts that no rule matches."""

_RULE = """
rule: {name}
summary: {summary}
match: ['{{alertname="{alertname}"}}']
severity: {severity}
target:
  deployment: ${{{{ alert.labels.deployment }}}}
  namespace: ${{{{ alert.labels.namespace }}}}
diagnose:
  pods: {{ use: pod_status }}
"""

_VERIFIED = """
guard:
  - { use: blast_radius, at_most: %d, within: 1h }
verify:
  within: 1500ms
  steady_for: 100ms
  checks:
    - use: workload_ready
"""

_DELETE = """fix:
  - use: delete_pod
    when: diagnose.pods.failing > 0
    pods: ${{ diagnose.pods.failing_names }}
    timeout: {timeout}
"""

_FIXES = {
    Trouble.REPLACE: _DELETE,
    Trouble.HOPELESS: _DELETE + _DELETE.removeprefix("fix:\n"),
    Trouble.APPROVED: _DELETE + "    approve: always\n",
    Trouble.RESTART: "fix:\n  - { use: restart, when: diagnose.pods.failing > 0, timeout: {timeout} }\n",
    Trouble.SCALE: "fix:\n  - { use: scale, by: 1, undo_after: 1500ms, timeout: {timeout} }\n",
    Trouble.LOOK: "",
}

_SEVERITIES = """
severities:
  quiet:
    title: A fix may be tried first
    definition: A fix may be tried first.
    respond_within: 5m
    policy: on-call
    page: after_verify
  loud:
    title: A person at once
    definition: A person at once.
    respond_within: 5m
    policy: on-call
    page: at_once
"""

_PEOPLE = """
people:
  alice:
    name: Alice
    reach:
      - { channel: pager }
      - { channel: chat }
"""


def write_fault_rules(
    folder: Path,
    *,
    sink: str,
    timeout: str = "10s",
    edition: int = 0,
    troubles: Sequence[Trouble] = tuple(Trouble),
) -> Path:
    """`timeout` of each write; a lease must have more than that left. Each edition has its own version of each rule."""
    channels = "".join(f"  {name}: {{ use: webhook, url: '{sink}/{name}', secret: sink }}\n" for name in CHANNELS)
    return write_rules(
        folder,
        **{RULES: "\n---\n".join(_rule(trouble, timeout, summary_of(edition)) for trouble in troubles)},
        severities=_SEVERITIES,
        oncall__people=_PEOPLE,
        oncall__channels=f"channels:\n{channels}",
    )


def summary_of(edition: int) -> str:
    return f"Edition {edition}"


RULES = "service-down"
"""The file that holds them all."""
MISSED = Trouble.REPLACE
"""Where one rule is wrong, or not there, it is this one's, which is the first."""
CHANNELS = ("pager", "chat")
REVIEWS = "chat"
"""Where it is told whom we would have paged."""


def _rule(trouble: Trouble, timeout: str, summary: str) -> str:
    severity = "loud" if trouble is Trouble.LOOK else "quiet"
    rule = _RULE.format(name=trouble.lower(), summary=summary, alertname=trouble, severity=severity)
    fix = _FIXES[trouble].replace("{timeout}", timeout)
    return rule + (fix + _VERIFIED % BUDGETS[trouble.lower()] if fix else "")
