-- concurrently
-- What came last is soon known to be visible to everybody, and its block ranges to be summarized: whoever counts it or looks
-- for what is of another hour then reads an index, not the events. By its size alone a large table would wait for days.
ALTER TABLE events SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 250000);
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_created_at_id_idx ON events USING brin (created_at, id);
DROP INDEX CONCURRENTLY IF EXISTS events_created_at_idx;
