-- no transaction
-- Anti-entropy: who polls which sender of alerts, what each said last, and what a poll knows of an episode.

-- step:
ALTER TABLE episodes
    ADD COLUMN IF NOT EXISTS missed_polls  integer NOT NULL DEFAULT 0,    -- in how many polls that count its alert was nowhere
    ADD COLUMN IF NOT EXISTS missed_since  timestamptz,                   -- the first of them
    ADD COLUMN IF NOT EXISTS suppressed_by text NOT NULL DEFAULT '';      -- the silence, inhibition or mute time at its source

-- step: for the lag of the last day. BRIN: rows arrive in the order of this column, and the hot path pays next to nothing
DROP INDEX CONCURRENTLY IF EXISTS episodes_opened;
-- step:
CREATE INDEX CONCURRENTLY episodes_opened ON episodes USING brin (opened_at)
    WITH (pages_per_range = 32, autosummarize = on);

-- step:
CREATE TABLE source_polls (
    source      text PRIMARY KEY,
    due_at      timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,                                -- when the last poll was claimed
    lease_until timestamptz,
    epoch       bigint NOT NULL DEFAULT 0,
    opened      bigint NOT NULL DEFAULT 0,                  -- episodes that only a poll brought
    closed      bigint NOT NULL DEFAULT 0                   -- episodes that ended unheard
);

CREATE TABLE source_peers (
    source      text NOT NULL REFERENCES source_polls ON DELETE CASCADE,
    peer        text NOT NULL,                              -- its address
    kind        text NOT NULL,
    polled_at   timestamptz NOT NULL,
    answered_at timestamptz,
    firing      integer NOT NULL DEFAULT 0,                 -- of what is routed to us
    suppressed  integer NOT NULL DEFAULT 0,
    error       text NOT NULL DEFAULT '',                   -- of the last poll; empty: it answered
    PRIMARY KEY (source, peer)
);
