-- The walks through rules and queues in a language's order, which `0007_collation.sql` kept for the release before it:
-- nothing asks by them any more, and an order of a page spent a twentieth of its time on one of them. Locks both tables
-- for some milliseconds. A release from before `0007` still runs beside this one, and reads what is due from end to end.

DROP INDEX incidents_due_by_rule, outbox_queues;
