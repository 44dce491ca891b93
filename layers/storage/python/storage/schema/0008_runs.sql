-- The runs of the exporter. A run that was asked for under a key is made once, however often it is asked for.
CREATE TABLE export_runs (
    run_id          bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT export_runs_pkey PRIMARY KEY,
    idempotency_key text        CONSTRAINT export_runs_idempotency_key_key UNIQUE,
    began_at        timestamptz NOT NULL DEFAULT now(),
    -- Null while it is under way, and for good where it was killed.
    ended_at        timestamptz,
    outcome         jsonb
);

CREATE INDEX export_runs_began_at_idx ON export_runs (began_at);

-- How many events a batch was planned with; null in those of earlier releases, which have no more than their ids.
ALTER TABLE export_batches ADD COLUMN events bigint;
