-- What every event that came has become, by site and hour: exported, refused, withheld, erased, or still to be exported.

-- The numbers of what privacy signals kept out get an hour and a site: the known one of the page, or none.
ALTER TABLE withheld_beacons DROP CONSTRAINT withheld_beacons_pkey;
ALTER TABLE withheld_beacons RENAME COLUMN day TO hour;
ALTER TABLE withheld_beacons ALTER COLUMN hour TYPE timestamptz USING hour::timestamp AT TIME ZONE 'UTC';
ALTER TABLE withheld_beacons ADD COLUMN site_id varchar(253) NOT NULL DEFAULT '';
ALTER TABLE withheld_beacons ADD CONSTRAINT withheld_beacons_pkey PRIMARY KEY (hour, site_id, signal);

-- How many events erasures took out, and when: numbers, nothing about whom.
CREATE TABLE erased_events (
    erased_at timestamptz NOT NULL,
    hour      timestamptz NOT NULL,
    site_id   varchar(253) NOT NULL,
    -- The batch that they were planned in; null where they were in none yet.
    batch_id  text,
    events    bigint      NOT NULL
);

CREATE INDEX erased_events_hour_idx ON erased_events (hour);
CREATE INDEX export_batches_window_start_idx ON export_batches (window_start);

-- When the events of what lies in a destination were read, and how many of each site its filters left out.
ALTER TABLE export_deliveries
    ADD COLUMN read_at  timestamptz,
    ADD COLUMN left_out jsonb NOT NULL DEFAULT '{}';
UPDATE export_deliveries SET read_at = coalesce(written_at, delivered_at) WHERE delivered_at IS NOT NULL;

-- The hours whose balance lies in a bucket, with what was left over in it: zero, or something is wrong.
CREATE TABLE export_balances (
    destination text        NOT NULL CONSTRAINT export_balances_destination_check CHECK (destination IN ('client', 'backup')),
    bucket      text        NOT NULL,
    hour        timestamptz NOT NULL,
    difference  bigint      NOT NULL,
    written_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT export_balances_pkey PRIMARY KEY (destination, bucket, hour)
);

-- What was erased before this is not known by site and hour: balances begin with the next one.
INSERT INTO export_balances (destination, bucket, hour, difference)
SELECT destination, bucket, date_trunc('hour', max(window_start), 'UTC'), 0
  FROM export_deliveries JOIN export_batches USING (batch_id)
 WHERE bucket IS NOT NULL
 GROUP BY destination, bucket;
