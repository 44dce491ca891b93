-- Events of sites that nobody let in yet, where sites have to be let in: kept apart, and moved to the events once theirs is.
CREATE TABLE quarantined_events (
    id             bigint       GENERATED ALWAYS AS IDENTITY CONSTRAINT quarantined_events_pkey PRIMARY KEY,
    event_id       uuid         NOT NULL CONSTRAINT quarantined_events_event_id_key UNIQUE,
    event_type     varchar(50)  NOT NULL,
    session_id     varchar(100),
    visitor_id     varchar(100),
    site_id        varchar(253) NOT NULL,
    timestamp      timestamptz  NOT NULL CONSTRAINT quarantined_events_timestamp_check CHECK (timestamp >= '2000-01-01 00:00:00+00' AND timestamp < '9999-01-01 00:00:00+00'),
    url            text,
    path           varchar(500),
    user_agent     text,
    ip_address     inet,
    raw_event_data jsonb        NOT NULL,
    sender_agrees  boolean,
    received_at    timestamptz  NOT NULL DEFAULT now()
);
CREATE INDEX quarantined_events_site_id_idx ON quarantined_events (site_id);
CREATE INDEX quarantined_events_visitor_id_idx ON quarantined_events (visitor_id);

-- Whoever suppresses a visitor waits for what is under way here too (0012).
CREATE TRIGGER quarantined_events_hold_mark BEFORE INSERT ON quarantined_events
    FOR EACH STATEMENT EXECUTE FUNCTION events_hold_mark();
