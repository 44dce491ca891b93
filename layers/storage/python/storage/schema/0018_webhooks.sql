-- What is told about one thing (a site, a destination) arrives in the order in which it was told.
ALTER TABLE webhook_messages
    ADD COLUMN sequence bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT webhook_messages_sequence_key UNIQUE,
    ADD COLUMN about    text;
CREATE INDEX webhook_messages_about_idx ON webhook_messages (about, sequence)
 WHERE delivered_at IS NULL AND given_up_at IS NULL;
CREATE INDEX webhook_messages_given_up_idx ON webhook_messages (sequence) WHERE given_up_at IS NOT NULL;
