"""What a fault run counts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from remediator.domain.mode import Mode
from remediator.marks import Mark
from tests.faults.daemon import How
from tests.faults.writes import SUPPRESSED

if TYPE_CHECKING:
    from tests.faults.world import World


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


def figures_of(world: "World") -> Figures:
    """Of one seed, as it stands."""
    deliveries, books = world.alertmanager.deliveries, world.last
    figures = Figures(*map(world.fleet.struck, (How.KILL, How.STOP, How.END)), world.fleet.counts.copy())
    pages = [arrival.dedup_key for arrival in world.inbox.arrivals]
    figures.counts.update(
        {
            "seeds": 1,
            "killed at a mark": figures.kills.total(),
            "told to stop at a mark": figures.ends.total(),
            "database faults": int(world.scenario.database is not None),
            "deliveries sent": len(deliveries),
            "deliveries answered 2xx": sum(d.is_accepted for d in deliveries),
            "deliveries answered 5xx": sum(d.answered is not None and d.answered >= 500 for d in deliveries),
            "deliveries without an answer": sum(d.answered is None for d in deliveries),
            "alerts told": sum(len(d.alerts) for d in deliveries),
            "polls answered": len(world.polled.polls),
            "in observe mode": int(world.scenario.mode is Mode.OBSERVE),
            "in suggest mode": int(world.scenario.mode is Mode.SUGGEST),
            "bodies that could not be read, whole or in part": sum(bool(sent.broken) for sent in world.crowd.sent),
            "editions of the rules": len(world.rules.editions) - 1,
            "storms of dropped connections": int(world.scenario.storm is not None),
            "alerts poured and accepted": sum(len(s.unwanted) for s in world.crowd.sent if s.kept),
            "asked while the database hung": len(world.outages.probes),
            "alarms silenced": len(world.scenario.polling.silences) if world.scenario.polling else 0,
            "kill switches thrown": len(world.people.standstills),
            "people's responses": len(world.people.answered),
            "writes to the world": len(world.cluster.requests.effects),
            "pages": len(pages),
            "pages sent twice, with the same key": len(pages) - len(set(pages)),
        }
    )
    if books is not None:
        figures.counts.update(
            {
                "episodes": len(books.episodes),
                "incidents": len(books.incidents),
                "intents": len(books.intents),
                "intents observed after a crash": sum("before a restart" in r["detail"] for r in books.intents),
                "intents nobody can tell": sum(row["state"] == "unknown" for row in books.intents),
                "alerts found by polling": sum("was found by polling" in row["message"] for row in books.timeline),
                "alerts whose rule came later": sum("its rule came later" in row["message"] for row in books.timeline),
                "alerts gone by polling": sum("has been listed by no peer" in r["message"] for r in books.timeline),
                "alerts known to be silenced": sum(SUPPRESSED in row["message"] for row in books.timeline),
            }
        )
    return figures


def show(figures: Figures, console: Console, *, title: str) -> None:
    marks = Table("mark", "kill -9", "SIGSTOP", "SIGTERM", title="where they struck", title_justify="left")
    for mark in Mark:
        marks.add_row(mark.value, *(str(how[mark.value]) for how in (figures.kills, figures.stops, figures.ends)))
    console.print(marks)
    counts = Table("what", "how many", title=title, title_justify="left")
    for name, count in _ordered(figures.counts):
        counts.add_row(name, f"{count:,}")
    console.print(counts)


ORDER = (
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
    "alerts known to be silenced",
    "kill switches thrown",
    "people's responses",
    "pages",
    "pages sent twice, with the same key",
    "lost",
    "doubled",
    "other violations",
)


def _ordered(counts: Counter[str]) -> Sequence[tuple[str, int]]:
    return [(name, counts[name]) for name in (*ORDER, *sorted(set(counts) - set(ORDER)))]
