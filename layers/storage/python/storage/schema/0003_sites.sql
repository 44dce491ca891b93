-- The sites that the pixel was seen on. `discovered_to_id` of the one mark row is the event up to which they were read.
CREATE TABLE sites (
    site_id       varchar(253) CONSTRAINT sites_pkey PRIMARY KEY,
    first_seen_at timestamptz  NOT NULL,
    last_seen_at  timestamptz  NOT NULL,
    first_event_id uuid        NOT NULL,
    events        bigint       NOT NULL
);

CREATE TABLE discovery_mark (
    only_row         boolean CONSTRAINT discovery_mark_pkey PRIMARY KEY DEFAULT true
                     CONSTRAINT discovery_mark_only_row_check CHECK (only_row),
    discovered_to_id bigint  NOT NULL
);

INSERT INTO discovery_mark (discovered_to_id) VALUES (0);
