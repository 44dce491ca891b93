-- The number of an exporter's turn. Who has a higher one may replace what an attempt with a lower one left unfinished;
-- who was stopped, and wakes up after another took over, has a lower one than what it finds.
CREATE SEQUENCE export_fences;
