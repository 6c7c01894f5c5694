"""Which pages there are, and who writes each."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.reference.metrics import metrics_page
from tests.reference.settings import settings_page

DOCS = Path(__file__).parents[2] / "docs"

PAGES: Mapping[Path, Callable[[], str]] = {DOCS / "metrics.md": metrics_page, DOCS / "settings.md": settings_page}
