-- What of a site's history was given to its owner: where to, and up to when.
ALTER TABLE sites
    ADD COLUMN handed_off_to    text,
    ADD COLUMN handed_off_at    timestamptz,
    ADD COLUMN handed_off_until timestamptz;

-- A site can be let in before its first event.
ALTER TABLE sites ALTER COLUMN first_event_id DROP NOT NULL;
