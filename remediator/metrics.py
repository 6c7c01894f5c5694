"""What `/metrics` shows. One registry a daemon, so that two in one process (tests) do not mix."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

# A second series beside each counter, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for this one function

PAGE_RESULTS = ("sent", "retried", "failed", "withdrawn")
FROM_MEMORY_RESULTS = ("sent", "failed")
POLL_RESULTS = ("answered", "failed")
RELOAD_RESULTS = ("ok", "refused")
SEVERITIES_OF_PROBLEMS = ("error", "warning")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAGS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.deliveries = Counter(
            "remediator_deliveries",
            "Webhook bodies, by kind of source and the status of the answer: 202 stored, 503 to be sent again.",
            ("source", "answer"),
            registry=self.registry,
        )
        self.alerts = Counter(
            "remediator_alerts",
            "Alerts, by what they meant: open, refresh, close, stale, unknown; adopted: given an incident afterwards; "
            "rejected: not read, put_aside: not stored.",
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
            "Tries to send a message to a person, by channel and result: sent, retried, failed (the next channel is "
            "tried, or none is left), withdrawn.",
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
            "Polls of a sender's peers, by result: answered, failed.",
            ("source", "result"),
            registry=self.registry,
        )
        self.repaired = Counter(
            "remediator_source_repairs",
            "Episodes that a poll opened or closed, since no webhook did, by repair: opened, closed.",
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
        self.reloads = Counter(
            "remediator_rule_reloads",
            "Rule reloads, by result: ok, or refused, where the old set stays in force.",
            ("result",),
            registry=self.registry,
        )
        for result in RELOAD_RESULTS:
            self.reloads.labels(result=result)
        self.rule_files_with_problems = Gauge(
            "remediator_rule_files_with_problems",
            "Rule files with an error or a warning when last read. What one with an error says is not in force.",
            ("severity",),
            registry=self.registry,
        )
        self.open_incidents = Gauge(
            "remediator_open_incidents",
            "Incidents that are not resolved, by status, in the database that the replicas share.",
            ("status",),
            registry=self.registry,
        )
        self.oldest_unsent_page = Gauge(
            "remediator_oldest_unsent_page_seconds",
            "How long ago the oldest page was ordered that no channel has taken yet; 0 where none waits.",
            registry=self.registry,
        )
        self.kill_switch = Gauge(
            "remediator_kill_switch", "1 while the kill switch is on: nothing is fixed.", registry=self.registry
        )
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
            "Pages sent from memory while the database was lost, by channel and result: sent, failed.",
            ("channel", "result"),
            registry=self.registry,
        )
        self.watched_deadlines = Gauge(
            "remediator_watched_deadlines",
            "Pages and escalations kept in memory in case the database is lost.",
            registry=self.registry,
        )

    def begin_at_zero(self, *, channels: Iterable[str], filings: Iterable[str], polled: Iterable[str]) -> None:
        """What alerts are written on is there before it first happens: `increase` sees nothing in a first sample."""
        for channel in channels:
            for result in PAGE_RESULTS:
                self.pages.labels(channel=channel, result=result)
            for result in FROM_MEMORY_RESULTS:
                self.last_resort_pages.labels(channel=channel, result=result)
        for filing in (*filings, "adopted", "rejected", "put_aside"):
            self.alerts.labels(filing=filing)
        for source in polled:
            for result in POLL_RESULTS:
                self.polls.labels(source=source, result=result)

    def follow_rules(self, files_with_problems: Callable[[str], int]) -> None:
        """Asked at every scrape, by severity."""
        for severity in SEVERITIES_OF_PROBLEMS:
            self.rule_files_with_problems.labels(severity=severity).set_function(partial(files_with_problems, severity))

    def follow_database(self, is_well: Callable[[], bool], down_for: Callable[[], timedelta]) -> None:
        """Asked at every scrape, so that the figures are never older than the scrape."""
        self.database_up.set_function(lambda: float(is_well()))
        self.database_down_seconds.set_function(lambda: down_for().total_seconds())

    def render(self) -> bytes:
        return generate_latest(self.registry)
