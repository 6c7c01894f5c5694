"""What a fault run counts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from remediator.marks import Mark


@dataclass(slots=True)
class Figures:
    kills: Counter[str] = field(default_factory=Counter)
    """By mark, as all below that say so."""
    stops: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    """Everything else, by its name in the table."""

    def add(self, other: "Figures") -> None:
        self.kills.update(other.kills)
        self.stops.update(other.stops)
        self.ends.update(other.ends)
        self.counts.update(other.counts)

    def struck_less_than(self, times: int) -> list[Mark]:
        """Marks at which nothing died or froze so often: what they promise was not tried."""
        return [mark for mark in Mark if self.kills[mark.value] + self.stops[mark.value] < times]


def show(figures: Figures, console: Console, *, title: str) -> None:
    marks = Table("mark", "kill -9", "SIGSTOP", "SIGTERM", title="where they struck", title_justify="left")
    for mark in Mark:
        marks.add_row(mark.value, *(str(how[mark.value]) for how in (figures.kills, figures.stops, figures.ends)))
    console.print(marks)
    counts = Table("what", "how many", title=title, title_justify="left")
    for name, count in _ordered(figures.counts):
        counts.add_row(name, f"{count:,}")
    console.print(counts)


_ORDER = (
    "seeds",
    "daemons started",
    "killed at a mark",
    "frozen past their lease",
    "told to stop at a mark",
    "in observe mode",
    "in suggest mode",
    "database faults",
    "bodies that could not be read, whole or in part",
    "editions of the rules",
    "starts refused for want of rules",
    "storms of dropped connections",
    "alerts poured and accepted",
    "asked while the database hung",
    "deliveries sent",
    "deliveries answered 2xx",
    "deliveries answered 5xx",
    "deliveries without an answer",
    "alerts told",
    "alerts answered 2xx under kill -9",
    "polls answered",
    "episodes",
    "incidents",
    "writes to the world",
    "intents",
    "intents observed after a crash",
    "intents nobody can tell",
    "alerts found by polling",
    "alerts gone by polling",
    "alerts whose rule came later",
    "alarms silenced",
    "kill switches thrown",
    "people's responses",
    "pages",
    "pages sent twice, with the same key",
    "lost",
    "doubled",
    "other violations",
)


def _ordered(counts: Counter[str]) -> Sequence[tuple[str, int]]:
    return [(name, counts[name]) for name in (*_ORDER, *sorted(set(counts) - set(_ORDER)))]
