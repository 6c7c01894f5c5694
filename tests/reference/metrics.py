"""What `/metrics` shows, as a page."""

from prometheus_client.metrics import MetricWrapperBase

from remediator.metrics import Metrics
from tests.reference.table import table

_TEXT = """# Metrics

Written by `make docs` from `remediator/metrics.py`. Each replica shows its own at `/metrics`, without a login;
[alerts.yaml](alerts.yaml) has alerts on them.

{table}
What is read from the database that the replicas share (`remediator_open_incidents`, `remediator_kill_switch`,
`remediator_oldest_unsent_page_seconds`) is read every 15 s, and each replica says the same: take the `max` over them.
It stays as it was while the database is lost, of which `remediator_database_up` tells.
"""


def metrics_page() -> str:
    return _TEXT.format(table=table(("Metric", "Type", "Labels", "What it is"), [_row(each) for each in all_metrics()]))


def all_metrics() -> list[MetricWrapperBase]:
    return [each for each in vars(Metrics()).values() if isinstance(each, MetricWrapperBase)]


def labels_of(metric: MetricWrapperBase) -> tuple[str, ...]:
    return tuple(metric._labelnames)  # noqa: SLF001  # the library tells it in no other way


def series_of(metric: MetricWrapperBase) -> str:
    """The name by which it is asked for."""
    [family] = metric.describe()
    return f"{family.name}_total" if family.type == "counter" else family.name


def _row(metric: MetricWrapperBase) -> tuple[str, str, str, str]:
    [family] = metric.describe()
    labels = ", ".join(f"`{label}`" for label in labels_of(metric))
    return f"`{series_of(metric)}`", family.type, labels, family.documentation
