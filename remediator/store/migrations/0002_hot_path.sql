-- Fair claims and cheaper filing. Expands only: the release before goes on working against it.

CREATE INDEX incidents_due_by_rule ON incidents (rule, wake_at) WHERE wake_at IS NOT NULL;

-- Most alerts have no rule: their episodes need no place in the index by incident.
CREATE INDEX episodes_with_incident ON episodes (incident_id) WHERE incident_id IS NOT NULL;
DROP INDEX episodes_of_incident;

-- No longer written: the incident's alert and the body as it was sent have them. A later release drops the column.
ALTER TABLE episodes ALTER COLUMN annotations SET DEFAULT '{}';

-- A storm of one rule must not hold up the first page of another.
ALTER TABLE outbox ADD COLUMN rule text NOT NULL DEFAULT '';
CREATE INDEX outbox_due_by_rule ON outbox (kind, rule, due_at) WHERE due_at IS NOT NULL;

-- First pages are struck before repeated ones.
CREATE INDEX escalations_first_due ON escalations (due_at) WHERE started_at IS NULL AND due_at IS NOT NULL;

-- Rows that change often and live briefly: room for changes in place, and dead rows swept before they are many.
ALTER TABLE episodes SET (fillfactor = 90);
ALTER TABLE incidents SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE escalations SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE outbox SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
