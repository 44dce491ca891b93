-- What was exported beside the regular stream: a range of time, or one site of it, below a prefix of its own. Whoever
-- erases a visitor looks there too.
CREATE TABLE handoffs (
    destination text        NOT NULL CONSTRAINT handoffs_destination_check CHECK (destination IN ('client', 'backup')),
    bucket      text        NOT NULL,
    prefix      text        NOT NULL,
    from_time   timestamptz NOT NULL,
    to_time     timestamptz NOT NULL,
    site_id     text,
    began_at    timestamptz NOT NULL DEFAULT now(),
    -- Null while it is under way, and where it was given up.
    ended_at    timestamptz,
    CONSTRAINT handoffs_pkey PRIMARY KEY (destination, bucket, prefix)
);
