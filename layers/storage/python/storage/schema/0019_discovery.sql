-- Whether who sent a beacon (its Origin, or its Referer where there is none) is of the site that the event is counted to;
-- null where neither says.
ALTER TABLE events ADD COLUMN sender_agrees boolean;

-- Anybody can send events of any site, so one counts for a bill once there is evidence enough of it.
ALTER TABLE sites
    -- By the Public Suffix List; null until it was asked.
    ADD COLUMN kind               text CONSTRAINT sites_kind_check CHECK (kind IN ('public', 'preview', 'address', 'local')),
    ADD COLUMN registrable_domain varchar(253),
    ADD COLUMN state              text NOT NULL DEFAULT 'seen'
               CONSTRAINT sites_state_check CHECK (state IN ('seen', 'confirmed', 'refused')),
    ADD COLUMN confirmed_at       timestamptz,
    ADD COLUMN confirmed_by       text
               CONSTRAINT sites_confirmed_by_check CHECK (confirmed_by IN ('evidence', 'settings', 'operator')),
    -- When its discovery was told.
    ADD COLUMN told_at            timestamptz,
    ADD COLUMN agreeing_events    bigint NOT NULL DEFAULT 0,
    ADD COLUMN differing_events   bigint NOT NULL DEFAULT 0,
    ADD COLUMN bot_events         bigint NOT NULL DEFAULT 0,
    -- The evidence of one that is not confirmed: of a few sessions when each was seen first, by a hash of its id.
    ADD COLUMN sessions           jsonb  NOT NULL DEFAULT '{}';
CREATE INDEX sites_state_idx ON sites (state) WHERE state <> 'confirmed';

-- How many new names found no place since it was told, and when that was.
ALTER TABLE discovery_mark
    ADD COLUMN turned_away bigint NOT NULL DEFAULT 0,
    ADD COLUMN flooded_at  timestamptz;
