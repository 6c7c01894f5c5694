"""Files deliveries: bodies, episodes, incidents and their first escalation deadline.

Set-based: a batch costs a handful of statements however many alerts it holds.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from remediator.domain.alert import Alert, Delivery
from remediator.domain.episode import Filing
from remediator.domain.errors import Temporary
from remediator.domain.filing import Birth, Changes, Familiar, decide
from remediator.domain.ids import AlertKey
from remediator.domain.opening import Opening
from remediator.domain.timeline import Entry, EntryKind
from remediator.marks import Mark, reached
from remediator.store import bodies, episodes, firing, openings
from remediator.store.database import Connection
from remediator.store.firing import Kept

OpeningFor = Callable[[Alert], Opening | None]
"""Which incident a new alert opens; None: no rule, the episode alone is kept."""


@dataclass(frozen=True, slots=True)
class FilingResult:
    filings: Mapping[Filing, int]
    new: Sequence[Alert]
    """Those that began an episode."""
    incidents: int
    """Opened, joined or told of an end: whether there is anything to do."""
    opened: int
    """Incidents that may be new: whether there may be somebody to page."""
    ends_of_nothing: int
    """Of alerts that nobody has told of, or whose start is being filed at this moment."""


async def file(
    connection: Connection,
    deliveries: list[Delivery],
    alerts: Sequence[Alert],
    opening_for: OpeningFor,
    familiar: Familiar,
) -> FilingResult:
    """All of it, with nothing open on `connection` before or after. `deliveries` are those whose bodies are to be kept,
    and is emptied once they are, even where what follows fails; `alerts` is what is to be filed of them or of others.

    What fires, as most does, is one statement, and so one commit; the rest is another. What was read before another may
    have changed: each statement holds by itself (`ON CONFLICT`, `closed_at IS NULL`), as it must beside other replicas.
    """
    if await _all_go_on(connection, deliveries, alerts, familiar):
        return FilingResult({Filing.REFRESH: len(alerts)}, new=(), incidents=0, opened=0, ends_of_nothing=0)
    told = _latest(alerts)
    match = _remembering(opening_for)
    new: dict[AlertKey, Opening | None] = {}
    if _fires(deliveries, alerts):
        new = {key: match(alert) for key, alert in told.items() if not familiar.knows(key)}
        kept = await firing.keep(connection, deliveries, told, new=new, familiar=familiar)
        deliveries.clear()
    else:
        kept = Kept(*await episodes.look_up(connection, told))
    left = [alert for alert in alerts if alert.key not in kept.opened]
    changes = decide(left, kept.books, kept.now)
    for birth in changes.births:
        birth.opening = match(birth.alert)
    to_do_for = kept.incidents + await _write(connection, deliveries, changes)
    familiar.learn(kept.books, kept.opened, (opening.run_key for opening in new.values() if opening is not None))
    return FilingResult(
        changes.filings + _filings_of(kept, len(alerts) - len(left)),
        new=[*(told[key] for key in kept.opened), *(birth.alert for birth in changes.births)],
        incidents=to_do_for,
        opened=kept.opened_incidents + sum(birth.opening is not None for birth in changes.births),
        ends_of_nothing=len(changes.ends_of_nothing),
    )


async def _all_go_on(
    connection: Connection, deliveries: list[Delivery], alerts: Sequence[Alert], familiar: Familiar
) -> bool:
    """What is told again, as most is, in one statement that keeps the bodies: its episodes are looked for by their
    numbers, where we remember those of all. Not where one of them was closed behind our back."""
    if any(delivery.rejected for delivery in deliveries):
        return False
    remembered = familiar.open_episodes(alerts)
    if not remembered:
        return False
    all_go_on = await episodes.go_on(connection, deliveries, remembered)
    deliveries.clear()
    return all_go_on


def _filings_of(kept: Kept, told: int) -> Counter[Filing]:
    """Of those that began an episode, `told` so often in the batch."""
    return Counter({Filing.OPEN: len(kept.opened), Filing.REFRESH: told - len(kept.opened)}) if told else Counter()


def _latest(alerts: Iterable[Alert]) -> dict[AlertKey, Alert]:
    """Each alert once, as it was told with its latest start."""
    told: dict[AlertKey, Alert] = {}
    for alert in alerts:
        before = told.setdefault(alert.key, alert)
        if alert.starts_at > before.starts_at:
            told[alert.key] = alert
    return told


def _remembering(opening_for: OpeningFor) -> OpeningFor:
    """Asked once for each alert."""
    found: dict[AlertKey, Opening | None] = {}

    def match(alert: Alert) -> Opening | None:
        if alert.key not in found:
            found[alert.key] = opening_for(alert)
        return found[alert.key]

    return match


def _fires(deliveries: Iterable[Delivery], alerts: Iterable[Alert]) -> bool:
    """All of it, and all of it could be read."""
    return all(alert.is_firing for alert in alerts) and not any(delivery.rejected for delivery in deliveries)


async def _write(connection: Connection, deliveries: Sequence[Delivery], changes: Changes) -> int:
    """How many incidents there is something to do for."""
    has_rejected = any(delivery.rejected for delivery in deliveries)
    if changes.is_quiet and not has_rejected:
        await episodes.write(connection, deliveries, changes.seen, changes.births, ())
        return 0
    async with connection.transaction():
        entries = await _apply(connection, changes)
        if has_rejected:
            await bodies.keep(connection, deliveries)
            deliveries = ()
        still_open = [birth for birth in changes.births if birth.ended_by is None]
        await episodes.write(connection, deliveries, changes.seen, still_open, entries)
        reached(Mark.DELIVERY_FILED)
    return len({incident for incident, _ in entries})


async def _apply(tx: Connection, changes: Changes) -> list[tuple[int, Entry]]:
    """What others may be at as well, each held against them until the end of the transaction: incidents first, as
    everybody does. Gives what the incidents' timelines are to say of it."""
    starts = await _open(tx, changes.births, changes.ends_in)
    await episodes.restart(tx, changes.restarts, to_close=changes.ends)
    ended = await episodes.close(tx, changes.ends)
    if ended.keys() - changes.ends_in:
        raise Temporary("an alert was given to an incident while it ended", system="database", operation="file")
    ended_within = [(birth, birth.ended_by) for birth in changes.births if birth.ended_by is not None]
    of_nothing = [(Birth(end, end.starts_at), end) for end in changes.ends_of_nothing]
    await episodes.insert_ended(tx, ended_within + of_nothing)
    return [(incident, _end_of(alert)) for incident, alert in ended.items()] + starts


async def _open(tx: Connection, births: Sequence[Birth], ends_in: Collection[int]) -> list[tuple[int, Entry]]:
    """Incidents opened or joined, and told to the births that asked for them; gives what is to be told of it."""
    requested = [openings.Requested(birth.opening, birth.alert) for birth in births if birth.opening is not None]
    opened = await openings.open_or_join(tx, requested, ends_in=ends_in)
    for birth in births:
        if birth.opening is not None:
            birth.incident = opened.incidents[birth.opening.run_key]
    return list(opened.told)


def _end_of(alert: Alert) -> Entry:
    how = "resolved" if alert.recovered else "went away without a recovery"
    return Entry(EntryKind.ALERT, f"{alert.name} {how} ({alert.source})")
