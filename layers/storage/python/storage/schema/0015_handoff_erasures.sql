-- As what a hand-off was written, and who is in it, as keyed hashes, in order; null where nobody knows.
ALTER TABLE handoffs
    ADD COLUMN formats        text[] NOT NULL DEFAULT '{}',
    ADD COLUMN layout         jsonb  NOT NULL DEFAULT '{}',
    ADD COLUMN visitor_hashes bigint[];
ALTER TABLE handoffs ALTER COLUMN visitor_hashes SET STORAGE EXTERNAL;

-- What an erasure did to the objects of a hand-off.
CREATE TABLE erasure_handoffs (
    erasure_id   uuid        NOT NULL CONSTRAINT erasure_handoffs_erasure_id_fkey REFERENCES erasures,
    destination  text        NOT NULL,
    bucket       text        NOT NULL,
    prefix       text        NOT NULL,
    rows_removed bigint      NOT NULL,
    objects      jsonb       NOT NULL,
    done_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT erasure_handoffs_pkey PRIMARY KEY (erasure_id, destination, bucket, prefix)
);
