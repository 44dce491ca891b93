-- Which visitors an object of a batch holds, as keyed hashes, in order; by its key below the prefix.
CREATE TABLE object_visitors (
    batch_id       text     NOT NULL CONSTRAINT object_visitors_batch_id_fkey REFERENCES export_batches,
    object         text     NOT NULL,
    visitor_hashes bigint[] NOT NULL,
    CONSTRAINT object_visitors_pkey PRIMARY KEY (batch_id, object)
);
-- Hashes do not compress.
ALTER TABLE object_visitors ALTER COLUMN visitor_hashes SET STORAGE EXTERNAL;

-- An erasure ends once no object of any bucket holds the visitor; until then it is pending, or blocked for a reason.
ALTER TABLE erasures
    ADD COLUMN visitor_hash bigint,
    ADD COLUMN state        text NOT NULL DEFAULT 'completed'
               CONSTRAINT erasures_state_check CHECK (state IN ('pending', 'blocked', 'completed')),
    ADD COLUMN reason       text,
    -- When the rows were gone: what was read after that does not hold them.
    ADD COLUMN erased_at    timestamptz,
    -- How the client's bucket names the visitor where it hashes ids; gone once the erasure is completed.
    ADD COLUMN exported_as  text,
    ADD COLUMN receipt      jsonb;
ALTER TABLE erasures ALTER COLUMN state DROP DEFAULT;
CREATE INDEX erasures_open_idx ON erasures (requested_at) WHERE state <> 'completed';

-- The events that open erasures took out, by which objects that hide who a row is of are known; gone with their end.
CREATE TABLE erasing_events (
    erasure_id uuid         NOT NULL CONSTRAINT erasing_events_erasure_id_fkey REFERENCES erasures,
    id         bigint       NOT NULL,
    site_id    varchar(253),
    CONSTRAINT erasing_events_pkey PRIMARY KEY (erasure_id, id)
);
CREATE INDEX erasing_events_id_idx ON erasing_events (id);

-- What an erasure did to the objects of a batch in a bucket.
CREATE TABLE erasure_deliveries (
    erasure_id   uuid        NOT NULL CONSTRAINT erasure_deliveries_erasure_id_fkey REFERENCES erasures,
    batch_id     text        NOT NULL,
    destination  text        NOT NULL,
    rows_removed bigint      NOT NULL,
    -- Of each object that was opened: its key, and its SHA-256 before and after.
    objects      jsonb       NOT NULL,
    done_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT erasure_deliveries_pkey PRIMARY KEY (erasure_id, batch_id, destination)
);

-- What a rewriting is about to put in the place of an object, written before its first byte is sent: whoever goes on after
-- a kill knows the object again.
CREATE TABLE object_rewrites (
    batch_id    text  NOT NULL,
    destination text  NOT NULL,
    key         text  NOT NULL,
    sha256      text  NOT NULL,
    described   jsonb NOT NULL,
    CONSTRAINT object_rewrites_pkey PRIMARY KEY (batch_id, destination, key, sha256)
);

-- The manifests that the present one took the place of, newest last: the next in the chain may name one of them.
ALTER TABLE export_deliveries ADD COLUMN revisions jsonb NOT NULL DEFAULT '[]';

-- An attempt that was given up leaves what it read behind: objects that a later one writes over, of which a bucket may keep
-- versions, and objects that it removes. So whoever erases has to know when the first attempt read, whether the last one
-- got to the end, so that the index has all who are in it, and the keys that are no objects of the batch any more.
ALTER TABLE export_deliveries
    ADD COLUMN first_read_at timestamptz,
    ADD COLUMN indexed_at    timestamptz,
    ADD COLUMN leftovers     text[] NOT NULL DEFAULT '{}',
    -- Of an earlier release, or restored: nobody knows who is in its objects.
    ADD COLUMN unindexed     boolean NOT NULL DEFAULT false;
UPDATE export_deliveries
   SET first_read_at = coalesce(read_at, attempted_at),
       unindexed = delivered_at IS NOT NULL OR announced <> '{}' OR read_at IS NOT NULL;

-- Which erasure took them out: null of those of earlier releases.
ALTER TABLE erased_events ADD COLUMN erasure_id uuid;
CREATE INDEX erased_events_erasure_id_idx ON erased_events (erasure_id);
