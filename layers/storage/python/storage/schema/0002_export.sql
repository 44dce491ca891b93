-- The ledger of deliveries. A batch is the range (from_id, to_id] of events; ranges follow one another without a gap.
CREATE TABLE export_batches (
    batch_id     text        CONSTRAINT export_batches_pkey PRIMARY KEY,
    from_id      bigint      NOT NULL,
    to_id        bigint      NOT NULL CONSTRAINT export_batches_to_id_key UNIQUE,
    window_start timestamptz NOT NULL,
    window_end   timestamptz NOT NULL,
    formats      text[]      NOT NULL,
    planned_at   timestamptz NOT NULL DEFAULT now(),
    -- When the last of its destinations had it verified; null before.
    delivered_at timestamptz,
    CONSTRAINT export_batches_range_check CHECK (from_id < to_id),
    CONSTRAINT export_batches_range_excl EXCLUDE USING gist (int8range(from_id, to_id, '(]') WITH &&)
);

CREATE INDEX export_batches_undelivered_idx ON export_batches (to_id) WHERE delivered_at IS NULL;

-- One row a batch and destination: planned, then written (the objects lie there, verified), then delivered (the
-- manifest too). Buckets succeed or lag on their own.
CREATE TABLE export_deliveries (
    batch_id     text        NOT NULL CONSTRAINT export_deliveries_batch_id_fkey REFERENCES export_batches,
    destination  text        NOT NULL CONSTRAINT export_deliveries_destination_check CHECK (destination IN ('client', 'backup')),
    state        text        NOT NULL DEFAULT 'planned'
                 CONSTRAINT export_deliveries_state_check CHECK (state IN ('planned', 'written', 'delivered')),
    attempts     integer     NOT NULL DEFAULT 0,
    last_error   text,
    bucket       text,
    manifest_key text,
    objects      jsonb,
    rows         bigint,
    bytes        bigint,
    attempted_at timestamptz,
    written_at   timestamptz,
    delivered_at timestamptz,
    CONSTRAINT export_deliveries_pkey PRIMARY KEY (batch_id, destination)
);

-- The customer's table, by its columns. exported_at is read from the ledger, so that a delivery rewrites no event:
-- an event belongs to the first batch that ends at or after its id.
CREATE VIEW events_log AS
SELECT e.id, e.event_id, e.event_type, e.session_id, e.visitor_id, e.site_id, e.timestamp, e.url, e.path,
       e.user_agent, e.ip_address, e.raw_event_data, e.created_at,
       (SELECT b.delivered_at FROM export_batches b WHERE b.to_id >= e.id ORDER BY b.to_id LIMIT 1) AS exported_at
  FROM events e;
