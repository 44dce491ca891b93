-- Receipts of erasures. They never hold the visitor's id.
CREATE TABLE erasures (
    erasure_id             uuid        CONSTRAINT erasures_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    requested_at           timestamptz NOT NULL DEFAULT now(),
    completed_at           timestamptz,
    events_erased          bigint      NOT NULL,
    rejected_events_erased bigint      NOT NULL
);
