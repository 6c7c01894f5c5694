-- no transaction
-- The walks through rules and queues in a language's order, which `0007_collation.sql` kept for the release before it:
-- nothing asks by them any more, and an order of a page spent a twentieth of its time on one of them. A release from
-- before `0007` still runs beside this one, and reads what is due from end to end.

-- step:
DROP INDEX CONCURRENTLY IF EXISTS incidents_due_by_rule;
-- step:
DROP INDEX CONCURRENTLY IF EXISTS outbox_queues;
-- step: the note that both are gone
SELECT;
