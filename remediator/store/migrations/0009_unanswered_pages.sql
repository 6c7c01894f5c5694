-- A page that was sent and not answered may have arrived. Whoever may have it hears of its incident's end, though the
-- page was withdrawn or failed since. Expands only: the release before goes on working against it.

ALTER TABLE outbox ADD COLUMN unanswered jsonb;   -- the reach at the first such try; NULL: each try was answered
