-- How far each rule of retention has come: no event of its sites with an id up to this one is older than it lets them be.
CREATE TABLE retention_marks (
    rule  text   CONSTRAINT retention_marks_pkey PRIMARY KEY,
    to_id bigint NOT NULL
);

-- Events that were dropped because of their age are counted with the erased ones, and are told apart: a bucket that has
-- them keeps them.
ALTER TABLE erased_events ADD COLUMN expired boolean NOT NULL DEFAULT false;

-- Events that an erasure found in a bucket alone: the database had dropped them before.
ALTER TABLE erasing_events ADD COLUMN in_bucket_only boolean NOT NULL DEFAULT false;

-- When the objects of a batch were removed from a bucket because of their age.
ALTER TABLE export_deliveries ADD COLUMN expired_at timestamptz;
-- One row a run, hour, site and batch, however many bites it was dropped in.
CREATE UNIQUE INDEX erased_events_expired_key ON erased_events (batch_id, hour, site_id, erased_at) NULLS NOT DISTINCT
 WHERE expired;
