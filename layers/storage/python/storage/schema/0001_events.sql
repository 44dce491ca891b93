-- Raw events: every field that a query needs as a column, the whole event beside it as JSONB.
CREATE TABLE events (
    id             bigint       GENERATED ALWAYS AS IDENTITY CONSTRAINT events_pkey PRIMARY KEY,
    event_id       uuid         NOT NULL DEFAULT gen_random_uuid() CONSTRAINT events_event_id_key UNIQUE,
    event_type     varchar(50)  NOT NULL,
    session_id     varchar(100),
    visitor_id     varchar(100),
    site_id        varchar(253),
    timestamp      timestamptz  NOT NULL CONSTRAINT events_timestamp_check CHECK (timestamp >= '2000-01-01 00:00:00+00' AND timestamp < '9999-01-01 00:00:00+00'),
    url            text,
    path           varchar(500),
    user_agent     text,
    ip_address     inet,
    raw_event_data jsonb        NOT NULL,
    created_at     timestamptz  NOT NULL DEFAULT now()
);

CREATE INDEX events_visitor_id_idx ON events (visitor_id);
-- Rows arrive in order of time, so a block range index answers "since when" for a thousandth of a b-tree's cost.
CREATE INDEX events_created_at_idx ON events USING brin (created_at);

-- Whoever inserts holds this lock, shared, until its transaction ends. Ids are drawn after it, because a statement
-- trigger fires before the first row is made. So whoever holds it exclusively sees every id that was ever drawn
-- either committed or gone, and max(id) is a mark below which nothing can appear any more.
CREATE FUNCTION events_hold_mark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1163284308, 1);
    RETURN NULL;
END
$$;

CREATE TRIGGER events_hold_mark BEFORE INSERT ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_hold_mark();

-- What was refused, redacted, with its reason. The payload is null where the body could not be read at all.
CREATE TABLE rejected_events (
    id          bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT rejected_events_pkey PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now(),
    reason      text        NOT NULL,
    message     text        NOT NULL,
    site_id     varchar(253),
    visitor_id  varchar(100),
    body_bytes  integer     NOT NULL,
    payload     jsonb
);

CREATE INDEX rejected_events_received_at_idx ON rejected_events USING brin (received_at);
CREATE INDEX rejected_events_visitor_id_idx ON rejected_events (visitor_id) WHERE visitor_id IS NOT NULL;

-- How often a privacy signal kept an event out: a number a day, nothing about whom.
CREATE TABLE withheld_beacons (
    day    date   NOT NULL,
    signal text   NOT NULL,
    beacons bigint NOT NULL,
    CONSTRAINT withheld_beacons_pkey PRIMARY KEY (day, signal)
);
