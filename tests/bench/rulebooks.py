"""Rule folders of any size."""

from collections.abc import Iterator
from pathlib import Path

from tests.bench.alerts import VARIETY
from tests.system.rules import CHANNELS, ESCALATION, PEOPLE

SEVERITIES = """
severities:
  sev1:
    title: Critical
    definition: Complete outage.
    respond_within: 4h
    policy: on-call
    page: after_verify
"""

_PEOPLE = {"escalation/on-call": ESCALATION, "oncall/people": PEOPLE, "oncall/channels": CHANNELS}


def write(folder: Path, *rules: str, severities: str = SEVERITIES, channels: str = CHANNELS) -> Path:
    """One file a rule, and one person to page."""
    files = _PEOPLE | {"severities": severities, "oncall/channels": channels}
    files |= {f"rules/{number:05d}": rule for number, rule in enumerate(rules)}
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def other_rules(count: int) -> Iterator[str]:
    """Rules that no alert of ours matches: a fleet's rulebook has more in it than what fires now."""
    return (rule(f"other-{number}", f'{{alertname="Other{number:05d}", namespace="prod"}}') for number in range(count))


def whole_rules(count: int) -> Iterator[str]:
    """As long as real ones are; no alert of ours matches."""
    for number in range(count):
        yield rule(f"whole-{number}", f'{{alertname="Whole{number:05d}", namespace=~"prod|live"}}') + _WHOLE


_WHOLE = """
target: { deployment: "${{ alert.labels.deployment }}", namespace: "${{ alert.labels.namespace }}" }
diagnose:
  pods: { use: pod_status }
  changes: { use: recent_events }
fix:
  - use: delete_pod
    when: diagnose.pods.failing > 0 && diagnose.pods.healthy > 0
    pods: ${{ diagnose.pods.failing_names }}
verify:
  within: 10m
  steady_for: 2m
  checks:
    - use: workload_ready
    - use: alert_resolved
"""


def rules_that_match(sink: str, *, per_target: bool) -> Iterator[str]:
    """A rule for each alert name there is. `per_target`: the alerts of a deployment join one incident; else each alert
    opens its own. The first look takes its time, as real ones do."""
    target = 'target: { deployment: "${{ alert.labels.deployment }}", namespace: "${{ alert.labels.namespace }}" }\n'
    for kind in range(VARIETY):
        matcher = f'{{alertname="Bench{kind:04d}"}}'
        yield rule(f"bench-{kind}", matcher) + (target if per_target else "") + unanswered_look(sink)


def unanswered_look(sink: str) -> str:
    return f"diagnose:\n  front: {{ use: http_get, url: '{sink}/slow', timeout: 45s }}\n"


def looking_rule() -> str:
    """Every alert of ours opens an incident that is handed over at once."""
    return rule("look", '{alertname=~"Bench.+"}')


def flushing_rule(sink: str) -> str:
    """The cheapest whole walk there is with real plug-ins: one GET, one UNLINK, one GET, each on this machine."""
    return (
        rule("flush", '{alertname=~"Bench.+"}')
        + f"""
target: {{ redis: "${{{{ alert.labels.pod }}}}" }}
diagnose:
  page: {{ use: http_get, url: "{sink}/cold/${{{{ alert.labels.pod }}}}" }}
fix:
  - {{ use: flush_cache, when: diagnose.page.well, connection: cache, pattern: "${{{{ alert.labels.pod }}}}:*" }}
verify:
  within: 1m
  steady_for: 0s
  checks:
    - {{ use: http, url: "{sink}/well" }}
"""
    )


def rule(name: str, *matchers: str) -> str:
    lines = "".join(f"  - '{matcher}'\n" for matcher in matchers)
    return f"rule: {name}\nmatch:\n{lines}severity: sev1\n"
