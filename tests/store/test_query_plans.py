"""Years of alerts must not slow the hot path: every statement the store sends on it uses an index and reads few pages.

The statements are not written down here: the store's functions are called, and what they send is explained on the way.
"""

import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from remediator.domain.alert import Alert
from remediator.domain.budget import Budget
from remediator.domain.escalation import Severity
from remediator.domain.filing import Familiar
from remediator.domain.finding import Finding
from remediator.domain.ids import EpisodeId, IncidentId, RuleName
from remediator.domain.incident import IntentResult, IntentState, Move, Phase, Progress, Status
from remediator.domain.notification import Notification, NotificationKind, Receipt
from remediator.domain.oncall import Contact
from remediator.domain.timeline import Entry, EntryKind
from remediator.store import (
    crossed_ends,
    escalations,
    figures,
    filing,
    incidents,
    intents,
    ledger,
    moves,
    outbox,
    retention,
    strays,
    timeline,
)
from remediator.store.connecting import LIMITS
from remediator.store.database import Database
from remediator.store.escalations import Struck
from remediator.store.moves import Decided
from remediator.store.outbox import Outgoing, PagesAlike
from tests.fakes.watched import watched_database
from tests.store.facts import LEASE, alert, claimed, file, opening, resolved
from tests.store.history import EPISODES, INCIDENTS, OPEN
from tests.store.test_moves import commit, intent_of

BIG = ("episodes", "incidents", "timeline", "escalations", "outbox", "intents", "reservations")
A_FEW_PAGES = 8
"""A table this small is read whole, and rightly."""
PAGES_FOR_ONE = 150
"""Of 8 kB, read by one statement about one incident or alert: 17 partitions of the timeline are three pages each."""
ROWS_READ = "SELECT sum(seq_tup_read + COALESCE(idx_tup_fetch, 0))::int FROM pg_stat_xact_user_tables"
PAGES_A_ROW = 30
"""More, for each further row that a statement is about."""


@dataclass
class Explainer:
    """Explains each statement where it is sent, undoes that, and lets it run."""

    plans: list[tuple[str, Any]] = field(default_factory=list)

    async def watch(
        self,
        connection: "asyncpg.Connection[Any]",
        method: str,
        sql: str,
        arguments: Sequence[Any],
        go_on: Callable[[], Awaitable[Any]],
    ) -> Any:
        values = arguments[0][0] if method == "executemany" and arguments[0] else arguments
        if method != "executemany" or arguments[0]:
            undone = connection.transaction()
            await undone.start()
            explained = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"
            found = await asyncpg.Connection.fetchval(connection, explained, *values)
            await undone.rollback()
            self.plans.append((" ".join(sql.split())[:120], json.loads(found)[0]["Plan"]))
        return await go_on()


@pytest.fixture(params=["custom", "generic"])
async def explained(request: pytest.FixtureRequest, history_dsn: str) -> AsyncIterator[tuple[Database, Explainer]]:
    """Planned for the values given, and for any values: a statement sent often is planned once for all of them."""
    explainer = Explainer()
    mode = f"force_{request.param}_plan"
    async with watched_database(history_dsn, explainer.watch, plan_cache_mode=mode) as database:
        yield database, explainer


@asynccontextmanager
async def undone(database: Database) -> AsyncIterator[Database]:
    """All that is done with it is one transaction that is rolled back."""

    @dataclass
    class Inside(Database):
        connection_: Any = None

        @asynccontextmanager
        async def transaction(self) -> AsyncIterator[Any]:
            yield self.connection_

        connection = transaction

    async with database.connection() as held:
        whole = held.transaction()
        await whole.start()
        try:
            yield Inside(database.pool, connection_=held)
        finally:
            await whole.rollback()


async def file_new(database: Database) -> None:
    await file(database, *(alert(f"new{n}") for n in range(100)), opens=lambda a: opening(a.fingerprint))


async def file_more_severe(database: Database) -> None:
    """Each than the incident it joins."""
    lesser = Severity("sev3", "Medium", "", timedelta(hours=4), "on-call")
    await file(
        database,
        *(alert(f"lesser{n}") for n in range(50)),
        opens=lambda a: replace(opening(a.fingerprint.removeprefix("lesser")), severity=lesser),
    )
    await file(
        database, *(alert(f"more{n}") for n in range(50)), opens=lambda a: opening(a.fingerprint.removeprefix("more"))
    )


async def file_again(database: Database) -> None:
    """Of alerts that were closed often, and of open ones."""
    known = [f"f{n}" for n in range(50)] + [f"open{1_000 * n}" for n in range(1, 50)]
    await file(database, *(alert(name) for name in known), opens=lambda a: opening(a.fingerprint))


async def file_what_is_remembered(database: Database) -> None:
    """Told twice before, so that their numbers are known."""
    told, familiar = [alert(f"open{1_000 * n}") for n in range(1, 101)], Familiar()
    for _ in range(2):
        async with database.connection() as connection:
            await filing.file(connection, [], told, lambda _: None, familiar)


async def file_quietly(database: Database) -> None:
    """What no rule wants: open, ended, and never heard of."""
    names = [f"open{1_000 * n}" for n in range(1, 34)] + [f"f{n}" for n in range(33)] + [f"new{n}" for n in range(34)]
    await file(database, *(alert(name) for name in names), opens=lambda _: None)


async def file_ends(database: Database) -> None:
    """Closes episodes, nudges their incidents, tells their timelines."""
    await file(database, *(resolved(f"open{1_000 * n}") for n in range(1, 50)))


async def claim_and_move(database: Database) -> None:
    await file(database, alert("moved"))
    async with database.transaction() as tx:
        claimed = await incidents.claim(tx, owner="tests", lease=LEASE, limit=8)
    seen = Progress(findings={"pods": Finding(ok=True, summary="")})
    move = Move(Phase.DIAGNOSED, seen, entries=(Entry(EntryKind.FINDING, "seen"),))
    moved = await commit(database, claimed[0], move)
    write = intent_of(moved, attempts("7"))
    cleared = await commit(database, moved, Move(Phase.CLEARED, seen, intent=write))
    done = IntentResult(write.id, IntentState.DONE, "done")
    await commit(database, cleared, Move(Phase.FIXED, seen, result=done, wake_in=timedelta(hours=1)))


async def claim_nothing(database: Database) -> None:
    async with database.transaction() as tx:
        await incidents.claim(tx, owner="tests", lease=LEASE, limit=8)
        await escalations.claim_due(tx, limit=200)
        await escalations.next_due_in(tx, at_most=timedelta(seconds=1))
        await outbox.claim(tx, lease=LEASE, limit=50)


async def strike(database: Database) -> None:
    at_once = replace(opening(), first_page_in=timedelta())
    await file(
        database, *(alert(f"due{n}") for n in range(50)), opens=lambda a: replace(at_once, run_key=a.fingerprint)
    )
    async with database.transaction() as tx:
        [alike] = await escalations.claim_due(tx, limit=200)
        assert len(alike.incidents) == 50
        await outbox.order_pages(
            tx,
            [PagesAlike(alike.incidents, 1, 0, "alice", NotificationKind.PAGE, "alice", (Contact("email", ""),), "")],
        )
        await escalations.advance(tx, [Struck(alike.incidents, 0, timedelta(hours=1))])


async def page(database: Database) -> None:
    number = IncidentId(INCIDENTS)
    note = Notification(number, NotificationKind.PAGE, "new-key", "alice", "", "", "down", "sev1", "")
    async with database.transaction() as tx:
        await outbox.enqueue(
            tx, [Outgoing(note, (Contact("email", "a@example.invalid"), Contact("chat", "")), RuleName("rule"))]
        )
        assert await outbox.is_told(tx, number, key_begins="new-")
        [item] = await outbox.claim(tx, lease=LEASE, limit=50)
        await outbox.hold(tx, [item])
        assert await outbox.recorded(tx, [item]) == set()
        await outbox.note_unanswered(tx, item)
        await outbox.retry(tx, item, delay=timedelta(), error="")
        await outbox.next_contact(tx, item, error="")
        await outbox.enqueue_last_resort(tx, item, [(Contact("chat", ""),)])
        await outbox.sent(tx, [(item, Receipt())])
        assert item.id in {page.id for page in await outbox.arrived(tx, [number])}


async def look_for_strays(database: Database) -> None:
    """All that is open is looked at, and 200 are."""
    async with database.transaction() as tx:
        await strays.outliving(tx, by=timedelta(minutes=30))
        assert not [stray async for stray in strays.unwanted(tx)]
        await tx.execute("UPDATE incidents SET status = 'resolved' WHERE id = 250")
        [stray] = await strays.these(tx, [EpisodeId(1_000), EpisodeId(2_000)])
        await strays.adopt(tx, {IncidentId(500): [stray]})


async def look_for_crossed_ends(database: Database) -> None:
    """The same; no end of any of them is known."""
    async with database.connection() as connection:
        assert await crossed_ends.find(connection) == []


async def read_as_people_do(database: Database) -> None:
    async with database.connection() as connection:
        await incidents.list_incidents(connection, limit=50)
        await incidents.list_incidents(connection, status=Status.TRIGGERED, limit=50)
        assert await incidents.list_incidents(connection, status=Status.ACKNOWLEDGED, limit=50) == []
        await incidents.get(connection, IncidentId(INCIDENTS - 7))
        entries = await timeline.of_incident(connection, IncidentId(INCIDENTS - 7))
        assert len(entries) == 3
        await intents.of_incident(connection, IncidentId(7))


async def read_figures(database: Database) -> None:
    """All that is open is counted, and 200 are."""
    async with database.connection() as connection:
        assert (await figures.read(connection)).triggered == OPEN


async def respond(database: Database) -> None:
    async with database.transaction() as tx:
        await incidents.acknowledge(tx, IncidentId(INCIDENTS), by="alice")
        await incidents.resolve(tx, IncidentId(INCIDENTS), by="alice", note="")


async def judge(database: Database) -> None:
    async with database.connection() as connection:
        await ledger.snapshot(connection, [attempts("7"), attempts("8")])


def attempts(target: str) -> Budget:
    return Budget(f"attempts/{target}", at_most=1_000, within=timedelta(hours=1))


async def clear_up(database: Database) -> None:
    for sweep in (retention.EPISODES, retention.OUTBOX, retention.RESERVATIONS):
        async with database.transaction() as tx:
            await retention.sweep(tx, sweep, age=timedelta(days=300), after=0, limit=20)
    async with database.transaction() as tx:
        await retention.sweep_incidents(tx, age=timedelta(days=300), after=0, limit=20)
        await retention.drop_facts(tx, age=timedelta(days=300), limit=20)


async def forget_budgets(database: Database) -> None:
    async with database.transaction() as tx:
        assert await retention.forget_budgets(tx, limit=500) == 1


async def forget_rule_versions(database: Database) -> None:
    async with database.transaction() as tx:
        assert await retention.forget_rule_versions(tx, age=timedelta(days=400), limit=500) == 1


@pytest.mark.parametrize(
    ("work", "rows"),
    [
        pytest.param(file_new, 100, id="new alerts"),
        pytest.param(file_more_severe, 100, id="alerts that are more severe than the incidents they join"),
        pytest.param(file_again, 100, id="alerts told again"),
        pytest.param(file_what_is_remembered, 100, id="alerts told again that we remember"),
        pytest.param(file_quietly, 100, id="alerts without a rule"),
        pytest.param(file_ends, 50, id="alerts that end"),
        pytest.param(claim_and_move, 8, id="a move"),
        pytest.param(claim_nothing, 0, id="a poll that finds nothing"),
        pytest.param(strike, 50, id="deadlines that strike"),
        pytest.param(page, 1, id="a page"),
        pytest.param(look_for_strays, OPEN, id="alerts that nobody works on"),
        pytest.param(look_for_crossed_ends, OPEN, id="alerts that are over and open"),
        pytest.param(read_as_people_do, 50, id="reading"),
        pytest.param(read_figures, OPEN, id="the figures"),
        pytest.param(respond, 1, id="a person responds"),
        pytest.param(judge, 10, id="the ledger"),
        pytest.param(clear_up, 60, id="clearing up"),
        pytest.param(forget_budgets, 1_001, id="budgets that nothing is spent of"),
        pytest.param(forget_rule_versions, 51, id="rule versions that no incident is of"),
    ],
)
async def test_no_statement_reads_more_than_it_is_about(
    explained: tuple[Database, Explainer], work: Callable[[Database], Awaitable[None]], rows: int
) -> None:
    database, explainer = explained

    async with undone(database) as inside:
        await work(inside)

    assert explainer.plans
    for sql, plan in explainer.plans:
        scanned = [n["Relation Name"] for n in nodes(plan) if n["Node Type"] == "Seq Scan" and pages(n) > A_FEW_PAGES]
        assert not scanned, f"{sql} scans {scanned}"
        assert pages(plan) <= PAGES_FOR_ONE + PAGES_A_ROW * rows, f"{sql} reads {pages(plan)} pages"


async def test_a_table_that_grew_since_it_was_looked_at_is_still_read_by_index(database_address: str) -> None:
    """Nobody has counted its rows yet: the planner takes it for empty, and a join over all of it for cheap."""
    explainer = Explainer()
    async with watched_database(database_address, explainer.watch) as database:
        async with database.connection() as connection:
            for name in ("plan_cache_mode", "enable_seqscan"):
                await connection.execute(f"SET {name} = {LIMITS[name]}")
        # In an order of their own, as fingerprints are: neighbours in the index are no neighbours in the table.
        grown = [f"g{number * 7_919 % 8_000:04}" for number in range(8_000)]
        for begin in range(0, len(grown), 500):
            await file(database, *(alert(name) for name in grown[begin : begin + 500]), opens=lambda _: None)
        explainer.plans.clear()
        for rule in (lambda _: opening(), lambda _: None):
            told = (*grown[:8], *(f"h{n}" for n in range(8)))
            await file(database, *map(alert, told), opens=rule)

    for sql, plan in explainer.plans:
        assert pages(plan) <= PAGES_FOR_ONE + PAGES_A_ROW * 16, f"{sql} reads {pages(plan)} pages"


async def test_what_a_budget_spent_before_its_window_is_not_read(explained: tuple[Database, Explainer]) -> None:
    """It is read while the budget is locked, and whoever wants to spend of it waits. Nobody else asks for this one: of
    what is rolled back the index keeps something for a while."""
    database, explainer = explained

    async with undone(database) as inside, inside.connection() as connection:
        await connection.execute(
            """INSERT INTO reservations (key, intent_id, at, units)
               SELECT 'attempts/often/' || w, i.id, now() - interval '1 day' - n * interval '5 minutes', 1
               FROM (SELECT id FROM intents LIMIT 1) i, generate_series(1, 5_000) n, unnest('{1h,4h}'::text[]) w"""
        )
        explainer.plans.clear()
        await ledger.snapshot(connection, [attempts("often")])

    [(sql, plan)] = explainer.plans
    read = sum(n["Actual Rows"] * n["Actual Loops"] for n in nodes(plan) if n.get("Relation Name") == "reservations")
    assert read < 20, f"{sql} reads {read} reservations"
    assert pages(plan) <= PAGES_FOR_ONE


async def test_what_was_planned_for_empty_tables_still_reads_little_when_they_are_full(database_address: str) -> None:
    """A connection plans each statement once, and may do so in the first minute of its database."""
    async with Database.open(database_address, pool=1) as database:
        await claim_and_move(database)
        storm = (alert(f"s{n}") for n in range(1_000))
        await file(database, *storm, opens=lambda a: opening(a.fingerprint))

        async with database.transaction() as tx:
            before = await tx.fetchval(ROWS_READ)
            claimed = await incidents.claim(tx, owner="tests", lease=LEASE, limit=8)
            write = intent_of(claimed[0], attempts("7"))
            await moves.commit(tx, [Decided(claimed[0], Move(Phase.CLEARED, Progress(), intent=write))], lease=LEASE)
            read = await tx.fetchval(ROWS_READ) - before

    assert len(claimed) == 8
    assert read < 200


async def test_an_outbox_that_filled_since_it_was_looked_at_is_still_read_by_index(database_address: str) -> None:
    """It was empty then, as it is between storms."""
    explainer = Explainer()
    async with watched_database(database_address, explainer.watch) as database:
        number = (await claimed(database)).id
        async with database.connection() as connection:
            await connection.execute("ANALYZE")
            for name in ("plan_cache_mode", "enable_seqscan"):
                await connection.execute(f"SET {name} = {LIMITS[name]}")
            notes = [
                Notification(number, NotificationKind.PAGE, f"key-{n}", "alice", "", "", "down", "sev1", "")
                for n in range(5_000)
            ]
            reach = (Contact("email", "a@example.invalid"),)
            await outbox.enqueue(connection, [Outgoing(note, reach, RuleName("storm")) for note in notes])
            explainer.plans.clear()
            items = await outbox.claim(connection, lease=LEASE, limit=20)
            await outbox.claim(connection, lease=LEASE, limit=20, passing_over=["email"])
            await outbox.hold(connection, items)
            await outbox.recorded(connection, items)
            await outbox.sent(connection, [(item, Receipt()) for item in items])

    assert len(items) == 20
    for sql, plan in explainer.plans:
        assert pages(plan) <= PAGES_FOR_ONE + PAGES_A_ROW * 20, f"{sql} reads {pages(plan)} pages"


def pages(node: Mapping[str, Any]) -> int:
    """With everything below it."""
    read: int = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
    return read


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def test_foreign_keys_and_triggers_find_their_rows_by_index(history_dsn: str) -> None:
    """What a plan does not show: a deletion asks every table that refers to the row."""
    async with Database.open(history_dsn, pool=1) as database, undone(database) as inside, inside.transaction() as tx:
        await retention.sweep_incidents(tx, age=timedelta(days=300), after=0, limit=20)
        read = await tx.fetch("SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables WHERE seq_tup_read > 0")

    assert not [row["relname"] for row in read if row["relname"].startswith(BIG)]


@pytest.mark.slow
async def test_a_long_history_does_not_slow_the_filing_of_alerts(history_dsn: str, database_address: str) -> None:
    """The same batches on both in turn, so that whatever else this machine does slows both."""
    took: dict[str, list[float]] = {history_dsn: [], database_address: []}
    async with Database.open(history_dsn, pool=1) as long, Database.open(database_address, pool=1) as empty:
        for batch in range(12):
            for address, database in ((history_dsn, long), (database_address, empty)):
                async with undone(database) as inside:
                    began = time.perf_counter()
                    await file(
                        inside,
                        *(alert(f"f{500 * batch + n}") for n in range(500)),
                        opens=lambda a: opening(a.fingerprint) if a.fingerprint.endswith("7") else None,
                    )
                    took[address].append(time.perf_counter() - began)

    slower = statistics.median(took[history_dsn]) / statistics.median(took[database_address])
    assert slower < 2, f"{slower:.2f} times as long with {EPISODES} episodes behind it"


BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def fires(since: int) -> Alert:
    return alert("f1", starts_at=BEGAN + timedelta(minutes=since))


def ends(at: int) -> Alert:
    return resolved("f1", starts_at=BEGAN, ends_at=BEGAN + timedelta(minutes=at))


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(lambda _: fires(0), id="it goes on"),
        pytest.param(fires, id="it fires anew"),
        pytest.param(ends, id="it ends"),
    ],
)
async def test_an_episode_is_found_by_its_number_whenever_that_was_planned(
    database: Database, then: Callable[[int], Alert]
) -> None:
    """A statement is planned at its first use: here when there was one open episode, in whose index all are."""
    familiar = Familiar()

    async def tell(*alerts: Alert) -> int:
        async with database.transaction() as tx:
            before = await tx.fetchval(ROWS_READ)
            await filing.file(tx, [], alerts, lambda _: None, familiar)
            return int(await tx.fetchval(ROWS_READ) - before)

    for told in (fires(0), fires(0), then(1), fires(10), fires(10)):
        await tell(told)
    await tell(*(alert(f"m{number}") for number in range(2_000)))

    assert await tell(then(20)) < 30
