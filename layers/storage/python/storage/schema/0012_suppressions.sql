-- The visitors who were erased, as keyed hashes: what still comes of them is not stored.
CREATE TABLE suppressed_visitors (
    visitor_hash bigint      CONSTRAINT suppressed_visitors_pkey PRIMARY KEY,
    since        timestamptz NOT NULL DEFAULT now()
);

-- What the hashes of visitors are keyed with, as a hash of its own: another key would know nobody again.
CREATE TABLE privacy_key (
    only_row    boolean CONSTRAINT privacy_key_pkey PRIMARY KEY DEFAULT true
                CONSTRAINT privacy_key_only_row_check CHECK (only_row),
    fingerprint bigint  NOT NULL
);

-- Those of *hashes* that are suppressed. Volatile, so that it sees what was committed until it is called, and not until
-- its statement began: an insert calls it after it got hold of the mark (0001), and whoever suppresses holds that alone.
CREATE FUNCTION suppressed_among(hashes bigint[]) RETURNS bigint[] LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT coalesce(array_agg(visitor_hash), '{}') FROM suppressed_visitors WHERE visitor_hash = ANY (hashes));
END
$$;

CREATE TRIGGER rejected_events_hold_mark BEFORE INSERT ON rejected_events
    FOR EACH STATEMENT EXECUTE FUNCTION events_hold_mark();
