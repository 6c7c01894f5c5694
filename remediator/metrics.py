"""What `/metrics` shows. One registry a daemon, so that two in one process (tests) do not mix."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.deliveries = Counter(
            "remediator_deliveries",
            "Webhook bodies, by source and answer.",
            ("source", "answer"),
            registry=self.registry,
        )
        self.alerts = Counter(
            "remediator_alerts", "Alerts stored, by what they meant.", ("filing",), registry=self.registry
        )
        self.intake_seconds = Histogram(
            "remediator_intake_seconds", "One group commit.", buckets=_SECONDS, registry=self.registry
        )
        self.moves = Counter(
            "remediator_moves", "Moves committed, by phase reached.", ("phase",), registry=self.registry
        )
        self.pages = Counter(
            "remediator_pages",
            "Messages to people, by channel and result.",
            ("channel", "result"),
            registry=self.registry,
        )
        self.reloads = Counter("remediator_rule_reloads", "Rule reloads.", ("result",), registry=self.registry)

    def render(self) -> bytes:
        return generate_latest(self.registry)
