-- What was used, by site and day of UTC in which events came: numbers that stay when the events go.

-- A site that is metered counts under its own name, all others together under the empty one: made-up names fill no table.
-- One that is new is metered from its first event on, unless names were ever turned away: then some of its events may be
-- counted already, and it is once it is confirmed.
ALTER TABLE sites ADD COLUMN metered boolean NOT NULL DEFAULT true;
ALTER TABLE discovery_mark ADD COLUMN overflowed boolean NOT NULL DEFAULT false;
UPDATE discovery_mark SET overflowed = turned_away > 0 OR flooded_at IS NOT NULL;

-- The types of events of a site that are counted by name: those that came first, so many. What is in it stays in it.
CREATE TABLE usage_types (
    site_id    varchar(253) NOT NULL,
    event_type varchar(50)  NOT NULL,
    CONSTRAINT usage_types_pkey PRIMARY KEY (site_id, event_type)
);

-- Events that were stored, those that are gone since included; bytes are those of raw_event_data as text.
CREATE TABLE usage_days (
    day        date         NOT NULL,
    site_id    varchar(253) NOT NULL,
    event_type varchar(50)  NOT NULL,
    events     bigint       NOT NULL,
    bytes      bigint       NOT NULL,
    bot_events bigint       NOT NULL,
    CONSTRAINT usage_days_pkey PRIMARY KEY (day, site_id, event_type)
);

-- Of these, what is gone: erased, or too old. A recount of the events and this are usage_days.
CREATE TABLE usage_dropped (
    day        date         NOT NULL,
    site_id    varchar(253) NOT NULL,
    event_type varchar(50)  NOT NULL,
    events     bigint       NOT NULL,
    bytes      bigint       NOT NULL,
    bot_events bigint       NOT NULL,
    CONSTRAINT usage_dropped_pkey PRIMARY KEY (day, site_id, event_type)
);

-- Whoever counts events holds the mark of discovery, so what is dropped meanwhile is counted wholly, or not at all.
CREATE FUNCTION usage_keep_dropped() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mark bigint;
BEGIN
    -- What is put in the place of another event is no loss.
    IF current_setting('evothesis.replacing', true) = 'on' THEN
        RETURN NULL;
    END IF;
    SELECT discovered_to_id INTO mark FROM discovery_mark FOR SHARE;
    INSERT INTO usage_dropped AS gone (day, site_id, event_type, events, bytes, bot_events)
    SELECT (d.created_at AT TIME ZONE 'UTC')::date, coalesce(s.site_id, ''), coalesce(t.event_type, ''),
           count(*), sum(octet_length(d.raw_event_data::text)), count(*) FILTER (WHERE d.raw_event_data ? '_bot')
      FROM dropped d
      LEFT JOIN sites s ON s.site_id = d.site_id AND s.metered
      LEFT JOIN usage_types t ON t.site_id = s.site_id AND t.event_type = d.event_type
     WHERE d.id <= mark
     GROUP BY 1, 2, 3
        ON CONFLICT ON CONSTRAINT usage_dropped_pkey
        DO UPDATE SET events = gone.events + excluded.events, bytes = gone.bytes + excluded.bytes,
                      bot_events = gone.bot_events + excluded.bot_events;
    RETURN NULL;
END
$$;

CREATE TRIGGER events_keep_dropped AFTER DELETE ON events
    REFERENCING OLD TABLE AS dropped FOR EACH STATEMENT EXECUTE FUNCTION usage_keep_dropped();

-- Who came to a site in a day and in a month, as sketches (HyperLogLog) of keyed hashes that can be counted and not read.
CREATE TABLE usage_audiences (
    site_id  varchar(253) NOT NULL,
    period   text         NOT NULL CONSTRAINT usage_audiences_period_check CHECK (period IN ('day', 'month')),
    since    date         NOT NULL,
    visitors bytea        NOT NULL,
    sessions bytea        NOT NULL,
    -- What they count.
    visitor_count bigint  NOT NULL,
    session_count bigint  NOT NULL,
    CONSTRAINT usage_audiences_pkey PRIMARY KEY (site_id, period, since)
);

-- What came and was not stored, or not once more: numbers by hour and site, the known one of the page, or none.
CREATE TABLE turned_away_events (
    hour    timestamptz  NOT NULL,
    site_id varchar(253) NOT NULL,
    reason  text         NOT NULL CONSTRAINT turned_away_events_reason_check CHECK (reason IN ('duplicate', 'refused')),
    events  bigint       NOT NULL,
    CONSTRAINT turned_away_events_pkey PRIMARY KEY (hour, site_id, reason)
);

-- What a batch brought into a destination of each site when it was first delivered: events, and bytes of its objects.
ALTER TABLE export_deliveries ADD COLUMN metered jsonb;

-- What was read before is read once more, to be counted.
UPDATE sites SET events = 0, agreeing_events = 0, differing_events = 0, bot_events = 0;
UPDATE discovery_mark SET discovered_to_id = 0;
