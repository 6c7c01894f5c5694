"""What `/metrics` shows. One registry a daemon, so that two in one process (tests) do not mix."""

from collections.abc import Callable
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAGS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


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
            "remediator_alerts",
            "Alerts, by what they meant; rejected: not read, put_aside: not stored.",
            ("filing",),
            registry=self.registry,
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
        self.retention_removed = Counter(
            "remediator_retention_removed",
            "Rows removed because their time is over; a dropped partition counts in its own metric.",
            ("table",),
            registry=self.registry,
        )
        self.partitions_dropped = Counter(
            "remediator_partitions_dropped",
            "Partitions dropped because their time is over.",
            ("table",),
            registry=self.registry,
        )
        self.partitions_ahead = Gauge(
            "remediator_partitions_ahead",
            "Whole weeks or months after the present one that have a partition already, up to the first that has none.",
            ("table",),
            registry=self.registry,
        )
        self.retention_ended = Gauge(
            "remediator_retention_ended_timestamp_seconds",
            "When the last round of clearing up ended in which nothing failed, whichever replica did it; 0: never.",
            registry=self.registry,
        )
        self.retention_failing = Gauge(
            "remediator_retention_failing",
            "1 for each step of the last round of clearing up that did not come to its end: refused (until "
            "somebody changes a grant), put_off (tried again) or bug. `remediator retention` has the words.",
            ("step", "why"),
            registry=self.registry,
        )
        self.polls = Counter(
            "remediator_source_polls",
            "Polls of a sender's peers, by result.",
            ("source", "result"),
            registry=self.registry,
        )
        self.repaired = Counter(
            "remediator_source_repairs",
            "Episodes that a poll opened or closed, since no webhook did.",
            ("source", "repair"),
            registry=self.registry,
        )
        self.source_lag = Histogram(
            "remediator_source_lag_seconds",
            "From an alert's start to its arrival here: the longest of those that open an episode in the same commit.",
            ("source",),
            buckets=_LAGS,
            registry=self.registry,
        )
        self.reloads = Counter("remediator_rule_reloads", "Rule reloads.", ("result",), registry=self.registry)
        self.database_up = Gauge(
            "remediator_database_up",
            "1 where the database can be read and written, 0 where it cannot.",
            registry=self.registry,
        )
        self.database_down_seconds = Gauge(
            "remediator_database_down_seconds",
            "How long the database has been lost; 0 where it is well.",
            registry=self.registry,
        )
        self.last_resort_pages = Counter(
            "remediator_last_resort_pages",
            "Pages sent from memory while the database was lost, by channel and result.",
            ("channel", "result"),
            registry=self.registry,
        )
        self.watched_deadlines = Gauge(
            "remediator_watched_deadlines",
            "Pages and escalations kept in memory in case the database is lost.",
            registry=self.registry,
        )

    def follow_database(self, is_well: Callable[[], bool], down_for: Callable[[], timedelta]) -> None:
        """Asked at every scrape, so that the figures are never older than the scrape."""
        self.database_up.set_function(lambda: float(is_well()))
        self.database_down_seconds.set_function(lambda: down_for().total_seconds())

    def render(self) -> bytes:
        return generate_latest(self.registry)
