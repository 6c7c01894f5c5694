-- no transaction
-- Fair claims and cheaper filing. Expands only: the release before goes on working against it.

-- step: rules take turns
DROP INDEX CONCURRENTLY IF EXISTS incidents_due_by_rule;
-- step:
CREATE INDEX CONCURRENTLY incidents_due_by_rule ON incidents (rule, wake_at) WHERE wake_at IS NOT NULL;

-- step: a storm of one rule must not hold up the first page of another
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS rule text NOT NULL DEFAULT '';
-- step:
DROP INDEX CONCURRENTLY IF EXISTS outbox_due_by_rule;
-- step:
CREATE INDEX CONCURRENTLY outbox_due_by_rule ON outbox (kind, rule, due_at) WHERE due_at IS NOT NULL;

-- step: first pages are struck before repeated ones
DROP INDEX CONCURRENTLY IF EXISTS escalations_first_due;
-- step:
CREATE INDEX CONCURRENTLY escalations_first_due ON escalations (due_at)
    WHERE started_at IS NULL AND due_at IS NOT NULL;

-- step: most alerts have no rule: their episodes need no place in the index by incident
DROP INDEX CONCURRENTLY IF EXISTS episodes_with_incident;
-- step:
CREATE INDEX CONCURRENTLY episodes_with_incident ON episodes (incident_id) WHERE incident_id IS NOT NULL;
-- step:
DROP INDEX CONCURRENTLY IF EXISTS episodes_of_incident;

-- step: annotations are in the incident's alert and in the body as it was sent; a later release drops the column.
-- Rows that change often and live briefly get room for changes in place, and dead rows are swept before they are many.
ALTER TABLE episodes ALTER COLUMN annotations SET DEFAULT '{}', SET (fillfactor = 90);
ALTER TABLE incidents SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE escalations SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE outbox SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
