"""A rule folder small enough to see what a test is about; waits are fractions of a second."""

from pathlib import Path

SERVICE_DOWN = """
rule: service-down
summary: The health check has failed.
links:
  Errors: https://grafana.example.invalid/d/errors
match:
  - '{alertname="ServiceDown"}'
severity: sev1
target:
  deployment: ${{ alert.labels.deployment }}
  namespace: ${{ alert.labels.namespace }}
diagnose:
  pods: { use: pod_status }
fix:
  - use: delete_pod
    when: diagnose.pods.failing > 0
    pods: ${{ diagnose.pods.failing_names }}
verify:
  within: 2s
  steady_for: 200ms
  checks:
    - use: workload_ready
"""

SEVERITIES = """
severities:
  sev1:
    title: Critical
    definition: Complete outage.
    respond_within: 5m
    policy: on-call
    page: after_verify
"""

ESCALATION = """
policy: on-call
steps:
  - page: [alice]
    wait: 15m
repeat_every: 15m
"""

PEOPLE = """
people:
  alice:
    name: Alice
    reach:
      - { channel: console }
"""

CHANNELS = """
channels:
  console: { use: console }
"""


def rule_with(step: str) -> str:
    """Our one rule with another fix, written in one line."""
    before, _, after = SERVICE_DOWN.partition("fix:")
    return f"{before}fix:\n  - {step}\nverify:{after.partition('verify:')[2]}"


def write_rules(folder: Path, **files: str) -> Path:
    """The folder with our one rule and one person; `files` replaces or adds, with `__` for `/`."""
    contents = {
        "service-down": SERVICE_DOWN,
        "severities": SEVERITIES,
        "escalation__on-call": ESCALATION,
        "oncall__people": PEOPLE,
        "oncall__channels": CHANNELS,
    } | files
    for name, text in contents.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
