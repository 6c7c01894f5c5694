-- The whole first schema. Forward only; later releases expand first and contract one release later.

CREATE TABLE deliveries (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source      text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    body        bytea NOT NULL,
    alerts      integer NOT NULL,
    rejected    integer NOT NULL,
    truncated   integer NOT NULL
);

CREATE TABLE quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id bigint REFERENCES deliveries ON DELETE CASCADE,
    received_at timestamptz NOT NULL DEFAULT now(),
    source      text NOT NULL,
    position    integer NOT NULL,
    reason      text NOT NULL,
    raw         bytea NOT NULL
);

CREATE TABLE rule_versions (
    version  text PRIMARY KEY,
    rule     text NOT NULL,
    document jsonb NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE incidents (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule            text NOT NULL,
    rule_version    text NOT NULL,
    run_key         text NOT NULL,          -- rule + target (or fingerprint): a second alert joins the open incident
    title           text NOT NULL,
    severity        text NOT NULL,
    mode            text NOT NULL,
    status          text NOT NULL DEFAULT 'triggered' CHECK (status IN ('triggered', 'acknowledged', 'resolved')),
    phase           text NOT NULL DEFAULT 'opened',
    alert           jsonb NOT NULL,
    target          jsonb,
    progress        jsonb NOT NULL DEFAULT '{}',
    opened_at       timestamptz NOT NULL DEFAULT now(),
    acknowledged_at timestamptz,
    acknowledged_by text NOT NULL DEFAULT '',
    resolved_at     timestamptz,
    resolution      text NOT NULL DEFAULT '',
    wake_at         timestamptz,            -- NULL: nothing to do until something happens
    lease_owner     text NOT NULL DEFAULT '',
    lease_until     timestamptz,
    epoch           bigint NOT NULL DEFAULT 0,
    nudges          bigint NOT NULL DEFAULT 0       -- raised by whoever changes the incident from outside its lease
);
CREATE INDEX incidents_due ON incidents (wake_at) WHERE wake_at IS NOT NULL;
CREATE UNIQUE INDEX incidents_open_run ON incidents (run_key) WHERE status <> 'resolved';
CREATE INDEX incidents_recent ON incidents (opened_at DESC);

CREATE TABLE episodes (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source        text NOT NULL,
    fingerprint   text NOT NULL,
    incident_id   bigint REFERENCES incidents,   -- NULL: no rule matched
    labels        jsonb NOT NULL,
    annotations   jsonb NOT NULL,
    generator_url text NOT NULL DEFAULT '',
    starts_at     timestamptz NOT NULL,
    opened_at     timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    ends_at       timestamptz,                   -- the sender's word for the end; NULL: open
    closed_at     timestamptz,                   -- when we heard of it
    recovered     boolean NOT NULL DEFAULT true,
    delivery_id   bigint
);
CREATE UNIQUE INDEX episodes_open ON episodes (source, fingerprint) WHERE closed_at IS NULL;
CREATE INDEX episodes_ended ON episodes (source, fingerprint, closed_at DESC) WHERE closed_at IS NOT NULL;
CREATE INDEX episodes_of_incident ON episodes (incident_id);

CREATE TABLE timeline (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES incidents ON DELETE CASCADE,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind        text NOT NULL,
    path        text NOT NULL DEFAULT '',
    message     text NOT NULL,
    data        jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX timeline_of_incident ON timeline (incident_id, id);

CREATE TABLE intents (
    id          uuid PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES incidents ON DELETE CASCADE,
    path        text NOT NULL,
    plan        jsonb NOT NULL,
    timeout     interval NOT NULL,
    epoch       bigint NOT NULL,                 -- the claim that may run it; every later claim only observes
    state       text NOT NULL DEFAULT 'begun' CHECK (state IN ('begun', 'done', 'failed', 'unknown')),
    detail      text NOT NULL DEFAULT '',
    begun_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    undoes      uuid REFERENCES intents
);
CREATE INDEX intents_of_incident ON intents (incident_id);

CREATE TABLE budgets (key text PRIMARY KEY);     -- rows to lock, in the order of their keys

CREATE TABLE reservations (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key       text NOT NULL,
    intent_id uuid NOT NULL REFERENCES intents ON DELETE CASCADE,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    units     integer NOT NULL
);
CREATE INDEX reservations_of_budget ON reservations (key, at DESC);

CREATE TABLE escalations (
    incident_id bigint PRIMARY KEY REFERENCES incidents ON DELETE CASCADE,
    policy      jsonb NOT NULL,                  -- frozen when the incident opened: edits do not disturb a running chain
    severity    jsonb NOT NULL,
    due_at      timestamptz,                     -- NULL: stopped
    started_at  timestamptz,                     -- the first page of the current run of the chain
    run         integer NOT NULL DEFAULT 1,      -- counts restarts after an expired acknowledgement
    last_step   integer NOT NULL DEFAULT -1
);
CREATE INDEX escalations_due ON escalations (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE outbox (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id   bigint NOT NULL REFERENCES incidents ON DELETE CASCADE,
    dedup_key     text NOT NULL UNIQUE,
    kind          text NOT NULL,
    recipient     text NOT NULL,
    reach         jsonb NOT NULL,                -- contacts still to try, in order; the first is under way
    notification  jsonb NOT NULL,
    state         text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'failed')),
    attempts      integer NOT NULL DEFAULT 0,    -- on the contact under way
    due_at        timestamptz DEFAULT now(),     -- NULL: through
    lease_until   timestamptz,
    epoch         bigint NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at       timestamptz,
    provider_id   text NOT NULL DEFAULT '',
    error         text NOT NULL DEFAULT ''
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_of_incident ON outbox (incident_id);

CREATE TABLE kill_switch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    is_on    boolean NOT NULL DEFAULT false,
    by       text NOT NULL DEFAULT '',
    reason   text NOT NULL DEFAULT '',
    at       timestamptz NOT NULL DEFAULT now()
);
INSERT INTO kill_switch DEFAULT VALUES;
