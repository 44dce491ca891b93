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
    each record;
BEGIN
    -- What is put in the place of another event is no loss.
    IF current_setting('evothesis.replacing', true) = 'on' THEN
        RETURN NULL;
    END IF;
    SELECT discovered_to_id INTO mark FROM discovery_mark FOR SHARE;
    -- What nobody has counted yet was used all the same.
    FOR each IN
        SELECT (d.created_at AT TIME ZONE 'UTC')::date AS day, coalesce(s.site_id, '') AS site_id,
               coalesce(t.event_type, '') AS event_type, count(*) AS events,
               sum(octet_length(d.raw_event_data::text)) AS bytes,
               count(*) FILTER (WHERE d.raw_event_data ? '_bot') AS bots,
               count(*) FILTER (WHERE d.id > mark) AS uncounted,
               coalesce(sum(octet_length(d.raw_event_data::text)) FILTER (WHERE d.id > mark), 0) AS uncounted_bytes,
               count(*) FILTER (WHERE d.id > mark AND d.raw_event_data ? '_bot') AS uncounted_bots
          FROM dropped d
          LEFT JOIN sites s ON s.site_id = d.site_id AND s.metered
          LEFT JOIN usage_types t ON t.site_id = s.site_id AND t.event_type = d.event_type
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    LOOP
        INSERT INTO usage_dropped AS gone (day, site_id, event_type, events, bytes, bot_events)
        VALUES (each.day, each.site_id, each.event_type, each.events, each.bytes, each.bots)
            ON CONFLICT ON CONSTRAINT usage_dropped_pkey
            DO UPDATE SET events = gone.events + excluded.events, bytes = gone.bytes + excluded.bytes,
                          bot_events = gone.bot_events + excluded.bot_events;
        IF each.uncounted > 0 THEN
            INSERT INTO usage_days AS used (day, site_id, event_type, events, bytes, bot_events)
            VALUES (each.day, each.site_id, each.event_type, each.uncounted, each.uncounted_bytes, each.uncounted_bots)
                ON CONFLICT ON CONSTRAINT usage_days_pkey
                DO UPDATE SET events = used.events + excluded.events, bytes = used.bytes + excluded.bytes,
                              bot_events = used.bot_events + excluded.bot_events;
        END IF;
    END LOOP;
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

-- What an earlier release brought there is counted from what lies there; a month is stated from the next one on, as nobody
-- knows what was dropped before.
UPDATE export_deliveries d
   SET metered = coalesce(
       (SELECT jsonb_object_agg(site_id, jsonb_build_array(events, bytes))
          FROM (SELECT site.key AS site_id,
                       coalesce(sum(site.value::bigint) FILTER (WHERE object ->> 'format' = d.objects -> 0 ->> 'format'), 0) AS events,
                       trunc(sum((object ->> 'bytes')::bigint * site.value::bigint / nullif((object ->> 'rows')::numeric, 0))) AS bytes
                  FROM jsonb_array_elements(d.objects) object, jsonb_each_text(object -> 'sites') site
                 GROUP BY 1) each), '{}')
 WHERE delivered_at IS NOT NULL;
ALTER TABLE discovery_mark ADD COLUMN stated_from date NOT NULL DEFAULT '-infinity';
UPDATE discovery_mark SET stated_from = (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month')::date
 WHERE EXISTS (SELECT 1 FROM export_batches);

-- What was read before is read once more, to be counted.
UPDATE sites SET events = 0, agreeing_events = 0, differing_events = 0, bot_events = 0;
UPDATE discovery_mark SET discovered_to_id = 0;
