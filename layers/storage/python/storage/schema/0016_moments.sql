-- By these moments alone it is told what was erased before a batch was read and what after, so they go on where a clock steps back.
CREATE TABLE moments (
    last timestamptz NOT NULL
);
CREATE UNIQUE INDEX moments_one_key ON moments ((true));
INSERT INTO moments
SELECT greatest(clock_timestamp(),
                (SELECT max(greatest(first_read_at, read_at, indexed_at)) FROM export_deliveries),
                (SELECT max(erased_at) FROM erasures),
                (SELECT max(erased_at) FROM erased_events));

CREATE FUNCTION next_moment() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    UPDATE moments SET last = greatest(clock_timestamp(), last + interval '1 microsecond') RETURNING last
$$;
