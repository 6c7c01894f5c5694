-- no transaction
-- Indexes over what identifies something are in the order of bytes, not of a language. That order comes with the
-- operating system, and an upgrade of it that changes it leaves such an index in no order at all: a unique one lets a
-- second open episode, incident or page in, and a look-up passes over what is there. Bytes are also compared faster.
--
-- The columns of the big tables keep the database's collation. To change it, PostgreSQL would build their partial and
-- expression indexes anew while it locks the table, even those that have the new one already: a second for a million
-- episodes, and then plans without them while an older transaction is still writing. It need not be changed:
-- `text_pattern_ops` is the order of bytes, and `=` is what it ever was, so one index serves this release and the one
-- before.
--
-- Where rules and queues are walked through in order (`>`), the order must be the one that the statement asks for. So
-- those two indexes stay for the release before, with a new one in the order of bytes beside each. A later release
-- drops `incidents_due_by_rule` and `outbox_queues`.

-- step: one open episode for each alert
DROP INDEX CONCURRENTLY IF EXISTS episodes_open_new;
-- step:
CREATE UNIQUE INDEX CONCURRENTLY episodes_open_new
    ON episodes (source text_pattern_ops, fingerprint text_pattern_ops) WHERE closed_at IS NULL;
-- step: and its last one
DROP INDEX CONCURRENTLY IF EXISTS episodes_ended_new;
-- step:
CREATE INDEX CONCURRENTLY episodes_ended_new
    ON episodes (source text_pattern_ops, fingerprint text_pattern_ops, closed_at DESC) WHERE closed_at IS NOT NULL;
-- step: old and new change places at once, so that a migration begun again never drops the only one. Locks the table
-- for some milliseconds, as each of the following does
DROP INDEX episodes_open, episodes_ended;
ALTER INDEX episodes_open_new RENAME TO episodes_open;
ALTER INDEX episodes_ended_new RENAME TO episodes_ended;

-- step: one open incident for each run key
DROP INDEX CONCURRENTLY IF EXISTS incidents_open_run_new;
-- step:
CREATE UNIQUE INDEX CONCURRENTLY incidents_open_run_new ON incidents (run_key text_pattern_ops)
    WHERE status <> 'resolved';
-- step:
DROP INDEX incidents_open_run;
ALTER INDEX incidents_open_run_new RENAME TO incidents_open_run;

-- step: one message for each key. A constraint can have no order of its own; `ON CONFLICT` wants no more than the index
DROP INDEX CONCURRENTLY IF EXISTS outbox_dedup_key_new;
-- step:
CREATE UNIQUE INDEX CONCURRENTLY outbox_dedup_key_new ON outbox (dedup_key text_pattern_ops);
-- step:
ALTER TABLE outbox DROP CONSTRAINT IF EXISTS outbox_dedup_key_key;
DROP INDEX IF EXISTS outbox_dedup_key;
ALTER INDEX outbox_dedup_key_new RENAME TO outbox_dedup_key;

-- step: what was spent of a budget
DROP INDEX CONCURRENTLY IF EXISTS reservations_of_budget_new;
-- step:
CREATE INDEX CONCURRENTLY reservations_of_budget_new ON reservations (key text_pattern_ops, at DESC);
-- step:
DROP INDEX reservations_of_budget;
ALTER INDEX reservations_of_budget_new RENAME TO reservations_of_budget;

-- step: rules take turns
DROP INDEX CONCURRENTLY IF EXISTS incidents_in_turn;
-- step:
CREATE INDEX CONCURRENTLY incidents_in_turn ON incidents (rule COLLATE "C", wake_at) WHERE wake_at IS NOT NULL;
-- step: and so do messages
DROP INDEX CONCURRENTLY IF EXISTS outbox_in_turn;
-- step:
CREATE INDEX CONCURRENTLY outbox_in_turn
    ON outbox (kind COLLATE "C", rule COLLATE "C", (reach -> 0 ->> 'channel') COLLATE "C", due_at)
    WHERE due_at IS NOT NULL;

-- step: a primary key has the order of its column, so these change. No table is rewritten, the keys are built anew
-- locks: a narrow row for each rule and target that was ever acted on; a tenth of a second for a hundred thousand
ALTER TABLE budgets ALTER COLUMN key TYPE text COLLATE "C";
-- step:
-- locks: grows with the edits of people only, and is read at starts and reloads
ALTER TABLE rule_versions ALTER COLUMN version TYPE text COLLATE "C";
-- step:
-- locks: a row for each sender, and for each of its peers
ALTER TABLE source_polls ALTER COLUMN source TYPE text COLLATE "C";
ALTER TABLE source_peers ALTER COLUMN source TYPE text COLLATE "C", ALTER COLUMN peer TYPE text COLLATE "C";
-- step:
-- locks: a row for each migration
ALTER TABLE migrations ALTER COLUMN name TYPE text COLLATE "C";
