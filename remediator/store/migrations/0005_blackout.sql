-- What replicas must share without being told: the secret that signs acknowledge links, where the settings name none.

CREATE TABLE link_secret (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    secret   text NOT NULL,
    made_at  timestamptz NOT NULL DEFAULT now()
);
