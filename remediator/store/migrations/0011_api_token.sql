-- The API token that is made where the settings name none: one for all replicas, also where their folders are not kept.
-- Expands only: the release before goes on by the token in its folder, into which this one is written too.

CREATE TABLE api_token (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    token    text NOT NULL,
    made_at  timestamptz NOT NULL DEFAULT now()
);
