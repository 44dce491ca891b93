-- The table of the product that this one replaces, with the indexes its documentation speaks of: by time, by site and
-- time, and what is not exported yet.
CREATE TABLE events_original (
    id SERIAL PRIMARY KEY,
    event_id UUID DEFAULT gen_random_uuid(),
    event_type VARCHAR(50) NOT NULL,
    session_id VARCHAR(100),
    visitor_id VARCHAR(100),
    site_id VARCHAR(100),
    timestamp TIMESTAMPTZ NOT NULL,
    url TEXT,
    path VARCHAR(500),
    user_agent TEXT,
    ip_address INET,
    raw_event_data JSONB NOT NULL,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    exported_at TIMESTAMPTZ
);
CREATE INDEX ON events_original (timestamp);
CREATE INDEX ON events_original (site_id, timestamp);
CREATE INDEX ON events_original (exported_at) WHERE exported_at IS NULL;
