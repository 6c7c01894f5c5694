"""A rule folder small enough to see what a test is about."""

from pathlib import Path

from remediator.rules.loader import Loaded, load_rules

RULE = """\
rule: service-down
summary: The health check has failed.
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
  within: 10m
  steady_for: 1m
  checks:
    - use: workload_ready
"""

SEVERITIES = """\
severities:
  sev1:
    title: Critical
    definition: Complete outage.
    respond_within: 15m
    policy: on-call
  sev3:
    title: Medium
    definition: Minor.
    respond_within: 4h
    policy: on-call
    page: after_verify
"""

POLICY = """\
policy: on-call
steps:
  - page: primary
    wait: 15m
  - page: [bob, ops]
"""

PEOPLE = """\
people:
  alice:
    name: Alice
    reach:
      - { channel: ops }
  bob:
    name: Bob
    reach:
      - { channel: ops, address: bob }
"""

SCHEDULES = """\
schedules:
  primary:
    participants: alice
    starts_on: 2024-01-01T09:00
    timezone: Europe/Berlin
"""

CHANNELS = """\
channels:
  ops: { use: console }
"""


def write_rules(folder: Path, **files: str) -> Path:
    """One rule and two people; `files` replaces or adds, with `__` for `/`; an empty text takes a file away."""
    contents = {
        "service_down": RULE,
        "severities": SEVERITIES,
        "escalation__on_call": POLICY,
        "oncall__people": PEOPLE,
        "oncall__schedules": SCHEDULES,
        "oncall__channels": CHANNELS,
    } | files
    for name, text in contents.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        if text:
            path.write_text(text)
    return folder


def load_with(folder: Path, **files: str) -> Loaded:
    return load_rules(write_rules(folder, **files))
