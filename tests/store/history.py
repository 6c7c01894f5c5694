"""Years of alerts: a database with a big past, whose statistics are known to the planner, and a small present."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import asyncpg
import pytest

from tests.fakes.postgres import database_dsn

EPISODES = 200_000
INCIDENTS = 50_000
OPEN = 200
"""Incidents still open, from all times, each with an open episode (`open1000`, `open2000`, ...)."""

# Replication's role skips foreign keys and triggers: the rows are right by the way they are made.
_PAST = f"""
SET session_replication_role = replica;
INSERT INTO incidents (rule, rule_version, run_key, title, severity, mode, status, phase, alert, progress, opened_at,
        resolved_at, wake_at)
    OVERRIDING USER VALUE
    SELECT 'rule-' || n % 50, 'v' || n % 50, 'key-' || n, 'ServiceDown', 'sev1', 'act',
        CASE WHEN n % {INCIDENTS // OPEN} = 0 THEN 'triggered' ELSE 'resolved' END,
        CASE WHEN n % {INCIDENTS // OPEN} = 0 THEN 'handed_over' ELSE 'closed' END,
        '{{"source": "am", "fingerprint": "f", "status": "firing", "labels": {{"alertname": "ServiceDown"}},
           "starts_at": "2026-01-01T00:00:00Z"}}',
        '{{}}', at, CASE WHEN n % {INCIDENTS // OPEN} > 0 THEN at + interval '4 minutes' END, NULL
    FROM generate_series(1, {INCIDENTS}) n, LATERAL (SELECT now() - ({INCIDENTS} - n) * interval '11 minutes' AS at) b;
INSERT INTO episodes (source, fingerprint, incident_id, labels, annotations, starts_at, opened_at, closed_at, ends_at)
    SELECT 'am', CASE WHEN n % {EPISODES // OPEN} = 0 THEN 'open' || n ELSE 'f' || n % 20000 END,
        CASE WHEN n % 4 = 0 THEN n / 4 END, '{{"alertname": "ServiceDown"}}', '{{}}',
        at, at, over, over
    FROM generate_series(1, {EPISODES}) n,
        LATERAL (SELECT now() - ({EPISODES} - n) * interval '165 seconds' AS at) b,
        LATERAL (SELECT CASE WHEN n % {EPISODES // OPEN} > 0 THEN at + interval '4 minutes' END AS over) e;
INSERT INTO timeline (incident_id, kind, message, at)
    SELECT i.id, 'note', 'something was told', i.opened_at + n * interval '10 seconds'
    FROM incidents i, generate_series(1, 3) n;
INSERT INTO escalations (incident_id, policy, severity, due_at, started_at)
    SELECT id, '{{"name": "on-call", "steps": [{{"page": ["alice"]}}]}}',
        '{{"name": "sev1", "title": "Critical", "definition": "", "acknowledged_for": "PT15M", "policy": "on-call"}}',
        CASE WHEN status <> 'resolved' THEN now() + interval '1 hour' END, opened_at FROM incidents;
INSERT INTO outbox (incident_id, dedup_key, kind, recipient, reach, notification, state, due_at, created_at)
    SELECT id, id || ':1:0:alice', 'page', 'alice', '[]', '{{}}', 'sent', NULL, opened_at FROM incidents;
INSERT INTO intents (id, incident_id, path, plan, timeout, epoch, state, begun_at)
    SELECT gen_random_uuid(), id, 'fix[0]', '{{"action": "scale", "target": {{"kind": "deployment", "name": "backend"}},
        "summary": "", "calls": [], "precondition": ""}}', interval '15 s', 1, 'done', opened_at FROM incidents;
INSERT INTO reservations (key, intent_id, at, units)
    SELECT 'attempts/' || incident_id % 500 || '/4h', id, begun_at, 1 FROM intents ORDER BY begun_at;
INSERT INTO budgets SELECT DISTINCT key FROM reservations
    UNION SELECT DISTINCT left(key, -length('/4h')) FROM reservations UNION SELECT 'attempts/of long ago';
INSERT INTO rule_versions (version, rule, document, seen_at)
    SELECT v, 'rule', '{{}}', now() - interval '500 days'
    FROM (SELECT DISTINCT rule_version FROM incidents UNION SELECT 'of long ago') AS every (v);
RESET session_replication_role;
"""  # noqa: S608  # our own numbers


@pytest.fixture(scope="session")
def history_dsn(postgres_dsn: str) -> Iterator[str]:
    """For reading, and for transactions that are rolled back. Clone it to write."""
    name = f"history_{uuid4().hex}"
    asyncio.run(_make(postgres_dsn, name))
    yield database_dsn(postgres_dsn, name)
    asyncio.run(_drop(postgres_dsn, name))


async def _make(dsn: str, name: str) -> None:
    server = await asyncpg.connect(dsn)
    await server.execute(f"CREATE DATABASE {name} TEMPLATE remediator_template")
    await server.close()
    connection = await asyncpg.connect(database_dsn(dsn, name))
    await _partitions_of_the_past(connection)
    await connection.execute(_PAST)
    await connection.execute("ANALYZE")
    await connection.close()


async def _partitions_of_the_past(connection: asyncpg.Connection) -> None:
    """Of the months before this one, as retention would have made them in their time."""
    await connection.execute(
        """DO $$ BEGIN
            FOR ago IN 1..14 LOOP
                EXECUTE format('CREATE TABLE timeline_past_%s PARTITION OF timeline FOR VALUES FROM (%L) TO (%L)', ago,
                    date_trunc('month', now()) - ago * interval '1 month',
                    date_trunc('month', now()) - (ago - 1) * interval '1 month');
            END LOOP;
        END $$"""
    )


async def _drop(dsn: str, name: str) -> None:
    server = await asyncpg.connect(dsn)
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()
