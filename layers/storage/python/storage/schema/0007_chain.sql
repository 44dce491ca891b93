-- The place of a delivery among all that its bucket has, and the hash of the manifest that it ended with. The next
-- manifest names both, so that one that is missing or was altered shows without the ledger.
ALTER TABLE export_deliveries
    ADD COLUMN sequence        bigint,
    ADD COLUMN manifest_sha256 text,
    ADD CONSTRAINT export_deliveries_sequence_key UNIQUE (destination, bucket, sequence);

-- A window in which nothing arrived is a batch of its own, that begins and ends at the same id.
ALTER TABLE export_batches
    DROP CONSTRAINT export_batches_range_check,
    DROP CONSTRAINT export_batches_to_id_key,
    ADD CONSTRAINT export_batches_range_check CHECK (from_id <= to_id);
CREATE INDEX export_batches_to_id_idx ON export_batches (to_id);
CREATE INDEX export_batches_planned_at_idx ON export_batches (planned_at);

CREATE OR REPLACE VIEW events_log AS
SELECT e.id, e.event_id, e.event_type, e.session_id, e.visitor_id, e.site_id, e.timestamp, e.url, e.path,
       e.user_agent, e.ip_address, e.raw_event_data, e.created_at,
       (SELECT b.delivered_at FROM export_batches b
         WHERE b.to_id >= e.id AND b.from_id < e.id ORDER BY b.to_id LIMIT 1) AS exported_at
  FROM events e;
