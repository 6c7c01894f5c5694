-- Whether any peer ever listed an episode's alert: only then is it over when none lists it any more. The release before
-- neither reads nor writes it. Expands only.

ALTER TABLE episodes ADD COLUMN is_listed boolean NOT NULL DEFAULT false;
