-- no transaction
-- What the clearing up asks and tells. Whether an incident refers to a rule version was looked for in all incidents,
-- each hour (0.4 s for 150,000). Which steps of the last round did not come to their end, and why, is kept beside when
-- it ended. Expands only: the release before goes on working against it.

-- step: the incidents of a rule version
DROP INDEX CONCURRENTLY IF EXISTS incidents_of_rule_version;
-- step:
CREATE INDEX CONCURRENTLY incidents_of_rule_version ON incidents (rule_version text_pattern_ops);
-- step: by the step's name: {"why": ..., "error": ...}
ALTER TABLE retention ADD COLUMN failures jsonb NOT NULL DEFAULT '{}';
