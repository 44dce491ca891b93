-- The number of an exporter's turn. Who has a higher one may replace what an attempt with a lower one left unfinished;
-- who was stopped, and wakes up after another took over, has a lower one than what it finds.
CREATE SEQUENCE export_fences;

-- How the batch becomes objects, beside its formats: compression, size of an object, partitions.
ALTER TABLE export_batches ADD COLUMN layout jsonb NOT NULL DEFAULT '{}';

-- The keys that attempts at this delivery have begun to write. Those that its manifest does not name are removed.
ALTER TABLE export_deliveries ADD COLUMN announced text[] NOT NULL DEFAULT '{}';
