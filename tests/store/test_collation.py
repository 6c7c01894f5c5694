"""What identifies something is found and kept unique by its bytes, whatever language the database was made for and
whatever an upgrade of its operating system does to that language's order."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from remediator.domain.ids import IncidentId, RuleName
from remediator.domain.notification import Notification, NotificationKind
from remediator.domain.oncall import Contact
from remediator.store import incidents, outbox
from remediator.store.connecting import LIMITS
from remediator.store.database import Connection, Database
from remediator.store.migrate import Migration, migrate, shipped
from remediator.store.outbox import Outgoing
from tests.fakes.postgres import database_dsn
from tests.fakes.watched import watched_database
from tests.store.facts import LEASE, alert, count, file, opening
from tests.store.test_query_plans import Explainer, nodes

POSITION = next(position for position, m in enumerate(shipped()) if m.name == "0007_collation.sql")
BEFORE, COLLATION, SINCE = shipped()[:POSITION], shipped()[POSITION], shipped()[POSITION:]

LANGUAGES = ("LOCALE 'en_US.UTF-8'", "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'", "LOCALE 'C.UTF-8'", "")
"""In the order of preference. The embedded server offers the last two, unless `LOCPATH` leads it to more."""

PLANNED = {name: LIMITS[name] for name in ("plan_cache_mode", "enable_seqscan")} | {"enable_sort": "off"}
"""Without sorting wherever an index has the order: the few rows that are due here could as well be sorted."""

MIXED_UP = ("a-b", "aa", "a_c", "B", "ab", "a.b", "b")
"""Names that hardly two languages, and no language and the bytes, put in the same order."""


async def put_up(connection: Connection, migrations: Sequence[Migration]) -> None:
    for migration in migrations:
        for step in migration.steps:
            await connection.execute(step)


@pytest.fixture
async def in_a_language(postgres_dsn: str) -> AsyncIterator[str]:
    """A database of the release before."""
    name = f"language_{uuid4().hex}"
    server = await asyncpg.connect(postgres_dsn)
    for language in LANGUAGES:
        with suppress(asyncpg.PostgresError):
            await server.execute(f"CREATE DATABASE {name} TEMPLATE template0 {language}")
            break
    address = database_dsn(postgres_dsn, name)
    connection = await asyncpg.connect(address)
    await put_up(connection, BEFORE)
    await connection.execute("CREATE TABLE migrations (name text PRIMARY KEY, checksum text NOT NULL)")
    await connection.execute("ALTER TABLE migrations ADD COLUMN applied_at timestamptz NOT NULL DEFAULT now()")
    await connection.executemany(
        "INSERT INTO migrations (name, checksum) VALUES ($1, $2)", [(m.name, m.checksum) for m in BEFORE]
    )
    await connection.close()
    yield address
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()


_IN_A_LANGUAGE_S_ORDER = """
SELECT DISTINCT i.indexrelid::regclass::text AS name
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam,
    unnest(i.indcollation::oid[], i.indclass::oid[]) part(language, operators)
    JOIN pg_opclass o ON o.oid = part.operators JOIN pg_collation k ON k.oid = part.language
WHERE c.relnamespace = 'public'::regnamespace AND k.collname NOT IN ('C', 'POSIX')
    AND o.opcname NOT IN ('text_pattern_ops', 'varchar_pattern_ops', 'bpchar_pattern_ops')
ORDER BY name
"""


async def in_a_language_s_order(connection: Connection) -> list[str]:
    """Indexes that an upgrade of the operating system can leave in no order at all."""
    return [row["name"] for row in await connection.fetch(_IN_A_LANGUAGE_S_ORDER)]


async def test_every_index_over_text_is_in_the_order_of_bytes(database: Database) -> None:
    async with database.connection() as connection:
        found = await in_a_language_s_order(connection)

    assert found == []


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("CREATE INDEX later ON incidents (title)", ["later"]),
        ("CREATE INDEX later ON incidents (lower(title))", ["later"]),
        ("CREATE TABLE later (name text PRIMARY KEY)", ["later_pkey"]),
        ('CREATE INDEX later ON incidents (title COLLATE "C")', []),
        ("CREATE INDEX later ON incidents (title text_pattern_ops, id)", []),
    ],
)
async def test_an_index_in_a_language_s_order_is_noticed(database: Database, sql: str, found: list[str]) -> None:
    async with database.transaction() as tx:
        await tx.execute(sql)
        seen = await in_a_language_s_order(tx)

    assert seen == found


BIG = ("episodes", "incidents", "outbox", "reservations")
SMALL = ("budgets", "rule_versions", "source_polls", "source_peers")
_FILES = """
SELECT c.relfilenode FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE COALESCE(i.indrelid, c.oid) = ANY (ARRAY(SELECT t::regclass FROM unnest($1::text[]) t))
"""
_TABLE_FILES = "SELECT relname, relfilenode FROM pg_class WHERE relname = ANY($1::text[]) ORDER BY relname"


async def test_nothing_of_a_big_table_is_built_and_no_table_rewritten_under_lock(in_a_language: str) -> None:
    """A file that is there after a step was there before it, or others could read and write while it was filled."""
    connection = await asyncpg.connect(in_a_language)
    tables = await connection.fetch(_TABLE_FILES, [*BIG, *SMALL])
    built: list[str] = []

    for step in COLLATION.steps:
        before = {row["relfilenode"] for row in await connection.fetch(_FILES, BIG)}
        await connection.execute(step)
        after = {row["relfilenode"] for row in await connection.fetch(_FILES, BIG)}
        if after - before and "INDEX CONCURRENTLY" not in step:
            built.append(step)

    assert built == []
    assert await connection.fetch(_TABLE_FILES, [*BIG, *SMALL]) == tables
    await connection.close()


@pytest.mark.parametrize("done", range(1, len(COLLATION.steps), 3))
async def test_it_is_begun_again_wherever_it_stopped(in_a_language: str, done: int) -> None:
    connection = await asyncpg.connect(in_a_language)
    for step in COLLATION.steps[:done]:
        await connection.execute(step)

    await migrate(in_a_language)

    assert await in_a_language_s_order(connection) == []
    assert not await connection.fetch("SELECT FROM pg_class WHERE relkind = 'i' AND relname LIKE '%\\_new'")
    await connection.close()


_A_SECOND_ONE = {
    "episodes": """INSERT INTO episodes (source, fingerprint, labels, annotations, starts_at)
        SELECT source, fingerprint, labels, annotations, starts_at FROM episodes LIMIT 1""",
    "incidents": """INSERT INTO incidents (rule, rule_version, run_key, title, severity, mode, alert)
        SELECT rule, rule_version, run_key, title, severity, mode, alert FROM incidents LIMIT 1""",
    "outbox": """INSERT INTO outbox (incident_id, dedup_key, kind, recipient, reach, notification)
        SELECT incident_id, dedup_key, kind, recipient, reach, notification FROM outbox LIMIT 1""",
}


@pytest.mark.parametrize("table", _A_SECOND_ONE)
async def test_replicas_go_on_and_uniqueness_holds_at_every_step(in_a_language: str, table: str) -> None:
    """Each files, opens and orders by `ON CONFLICT`, which is an error where there is no index to ask."""
    connection = await asyncpg.connect(in_a_language)
    async with Database.open(in_a_language, pool=2) as database:
        for number, step in enumerate((*COLLATION.steps, "SELECT")):
            await file(database, alert(f"a-{number}"), opens=lambda a: opening(a.fingerprint))
            await order_pages(database, [f"a.{number}"])
            with pytest.raises(asyncpg.UniqueViolationError):
                await connection.execute(_A_SECOND_ONE[table])
            await connection.execute(step)

        assert await count(database, table) == len(COLLATION.steps) + 1
    await connection.close()


async def order_pages(database: Database, names: Sequence[str]) -> None:
    async with database.transaction() as tx:
        number = IncidentId(await tx.fetchval("SELECT min(id) FROM incidents"))
        note = [
            Notification(number, NotificationKind.PAGE, name, "alice", "", "", "down", "sev1", "") for name in names
        ]
        reach = (Contact("email", "a@example.invalid"),)
        await outbox.enqueue(tx, [Outgoing(one, reach, RuleName(one.dedup_key)) for one in note])


async def test_two_of_one_that_are_there_already_are_named(in_a_language: str) -> None:
    """As a corrupt index leaves them. Once a person has removed one, the migration goes on."""
    connection = await asyncpg.connect(in_a_language)
    async with Database.open(in_a_language, pool=1) as database:
        await file(database, alert("a-b"))
    await connection.execute("DROP INDEX episodes_open")
    await connection.execute(_A_SECOND_ONE["episodes"])

    with pytest.raises(asyncpg.UniqueViolationError, match=r"\(am, a-b\) is duplicated"):
        await migrate(in_a_language)

    await connection.execute("UPDATE episodes SET closed_at = now() WHERE id = (SELECT max(id) FROM episodes)")
    await connection.execute("CREATE UNIQUE INDEX episodes_open ON episodes (source) WHERE closed_at IS NULL")
    assert await migrate(in_a_language) == [migration.name for migration in SINCE]
    await connection.close()


async def test_what_was_stored_in_a_language_s_order_is_found_by_its_bytes(in_a_language: str) -> None:
    async with Database.open(in_a_language, pool=2) as database:
        await file(database, *map(alert, MIXED_UP), opens=lambda a: opening(a.fingerprint))
        await order_pages(database, MIXED_UP)
        async with database.transaction() as tx:
            await tx.execute("UPDATE incidents SET rule = run_key")

        await migrate(in_a_language)
        await file(database, *map(alert, MIXED_UP), opens=lambda a: opening(a.fingerprint))
        await order_pages(database, MIXED_UP)
        async with database.transaction() as tx:
            claimed = await incidents.claim(tx, owner="tests", lease=LEASE, limit=20)
            sent = await outbox.claim(tx, lease=LEASE, limit=20)

        assert await count(database, "episodes") == await count(database, "outbox") == len(MIXED_UP)
    assert sorted(incident.rule for incident in claimed) == sorted(MIXED_UP)
    assert sorted(item.notification.dedup_key for item in sent) == sorted(MIXED_UP)


async def test_turns_are_taken_by_the_order_of_bytes(history_dsn: str) -> None:
    explainer = Explainer()
    async with (
        watched_database(history_dsn, explainer.watch, **PLANNED) as database,
        database.connection() as connection,
    ):
        await incidents.claim(connection, owner="tests", lease=LEASE, limit=8)
        await outbox.claim(connection, lease=LEASE, limit=8)
    used = {node.get("Index Name") for _, plan in explainer.plans for node in nodes(plan)}

    assert {"incidents_in_turn", "outbox_in_turn"} < used


async def test_a_replica_at_work_goes_on_with_what_it_had_prepared(in_a_language: str) -> None:
    async with Database.open(in_a_language, pool=1) as database:
        for _ in range(2):
            await file(database, alert("aa"))
            async with database.transaction() as tx:
                await tx.execute("UPDATE incidents SET lease_until = NULL, wake_at = now()")
                claimed = await incidents.claim(tx, owner="tests", lease=timedelta(), limit=8)
            await migrate(in_a_language)

    assert [incident.rule for incident in claimed] == ["service-down"]
