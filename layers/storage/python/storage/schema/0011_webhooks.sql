-- Messages to the operator's own endpoint, written in the transaction of what they tell of, and sent until they arrived.
CREATE TABLE webhook_messages (
    message_id   text        CONSTRAINT webhook_messages_pkey PRIMARY KEY,
    type         text        NOT NULL,
    body         text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    attempts     integer     NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL DEFAULT now(),
    last_error   text,
    -- One of them is set in the end: it arrived, or was tried for days and given up.
    delivered_at timestamptz,
    given_up_at  timestamptz
);

CREATE INDEX webhook_messages_due_idx ON webhook_messages (next_at) WHERE delivered_at IS NULL AND given_up_at IS NULL;

-- What is wrong at present, so that it is told once, and once more when it is right again.
CREATE TABLE export_alarms (
    destination text        NOT NULL,
    alarm       text        NOT NULL CONSTRAINT export_alarms_alarm_check CHECK (alarm IN ('refused', 'delayed')),
    since       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT export_alarms_pkey PRIMARY KEY (destination, alarm)
);
