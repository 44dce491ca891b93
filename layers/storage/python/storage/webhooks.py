"""Messages to the operator's endpoint, by the Standard Webhooks specification: kept with what they tell of, sent until they arrive.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import orjson
from psycopg.rows import class_row, dict_row

from storage.database import Connection
from storage.post import NotTaken, post
from storage.settings import Settings

State = Literal["waiting", "delivered", "given_up"]

# The specification's own advice: nine tries over three days.
PAUSES = (
    dt.timedelta(seconds=5),
    dt.timedelta(minutes=5),
    dt.timedelta(minutes=30),
    dt.timedelta(hours=2),
    dt.timedelta(hours=5),
    dt.timedelta(hours=10),
    dt.timedelta(hours=14),
    dt.timedelta(hours=20),
)
# In one turn. An endpoint that hangs costs each its time-out, and whoever does not answer thrice is asked again later.
MOST_AT_ONCE = 1000
MOST_FAILURES = 3
# How long each is kept, whatever became of it.
KEPT = dt.timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Message:
    """One that is due."""

    message_id: str
    body: str
    attempts: int


def tell(connection: Connection, type_: str, data: Mapping[str, Any], about: str | None = None) -> str:
    """Keep a message to be sent, and give its id; it is there with the caller's transaction or not at all.

    It is sent under the same id until it arrives, so that whoever gets it twice knows it by that. Those *about* one
    thing arrive in the order in which they were told.
    """
    message_id = f"msg_{uuid4().hex}"
    document = {"type": type_, "timestamp": dt.datetime.now(dt.UTC), "data": data}
    connection.execute(
        "/* webhooks.tell */ INSERT INTO webhook_messages (message_id, type, body, about) VALUES (%s, %s, %s, %s)",
        (message_id, type_, orjson.dumps(document, option=orjson.OPT_UTC_Z).decode(), about),
    )
    return message_id


def send_due(connection: Connection, settings: Settings, has_time: Callable[[], bool] = lambda: True) -> dict[str, int]:
    """Send what is due, oldest first, and say how many arrived and failed. Of two callers one sends a message.

    Without an endpoint nothing is sent, and what is kept waits for one. All are forgotten after 90 days.
    """
    outcome = {"sent": 0, "failed": 0}
    connection.execute(
        "/* webhooks.forget */ DELETE FROM webhook_messages WHERE created_at < now() - %s::interval", (KEPT,)
    )
    if not settings.webhook_url:
        return outcome
    for _ in range(MOST_AT_ONCE):
        message = _take(connection) if outcome["failed"] < MOST_FAILURES and has_time() else None
        if message is None:
            break
        try:
            post(settings, message.message_id, message.body)
        except NotTaken as error:
            _failed(connection, message, str(error))
            outcome["failed"] += 1
        else:
            _sent(connection, message)
            outcome["sent"] += 1
    return outcome


def try_out(settings: Settings) -> None:
    """Send a message that says nothing, `evothesis.test`, once and at once.

    Raises:
        NotTaken: the endpoint did not take it; the text says why.
    """
    document = {"type": "evothesis.test", "timestamp": dt.datetime.now(dt.UTC), "data": {}}
    post(settings, f"msg_{uuid4().hex}", orjson.dumps(document, option=orjson.OPT_UTC_Z).decode())


def listing(connection: Connection, state: State | None, after: int, limit: int) -> list[dict[str, Any]]:
    """The *limit* messages that were told last before the one numbered *after* (0: the last of all), newest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            /* webhooks.listing */
            WITH told AS (
                SELECT sequence, message_id, type, about, created_at, attempts, delivered_at, given_up_at, last_error,
                       CASE WHEN delivered_at IS NULL AND given_up_at IS NULL THEN next_at END AS next_at,
                       CASE WHEN delivered_at IS NOT NULL THEN 'delivered' WHEN given_up_at IS NOT NULL THEN 'given_up'
                            ELSE 'waiting' END AS state, body::jsonb AS body
                  FROM webhook_messages)
            SELECT * FROM told
             WHERE (%(after)s = 0 OR sequence < %(after)s) AND (%(state)s::text IS NULL OR state = %(state)s)
             ORDER BY sequence DESC LIMIT %(limit)s
            """,
            {"after": after, "state": state, "limit": limit},
        ).fetchall()


def replay(connection: Connection, message_id: str | None = None) -> int:
    """Send again, under its id and from its first try on, one message, or all that were given up; says how many.

    It is due at once. One that waits for its next try is due at once too.
    """
    return connection.execute(
        """
        /* webhooks.replay */
        UPDATE webhook_messages SET attempts = 0, next_at = now(), delivered_at = NULL, given_up_at = NULL
         WHERE CASE WHEN %(message_id)s::text IS NULL THEN given_up_at IS NOT NULL ELSE message_id = %(message_id)s END
        """,
        {"message_id": message_id},
    ).rowcount


def _take(connection: Connection) -> Message | None:
    """The next one that is due. The try counts from now on, so that one on which the sender dies holds up no other."""
    with connection.transaction(), connection.cursor(row_factory=class_row(Message)) as cursor:
        message = cursor.execute(
            """
            /* webhooks.next */
            SELECT message_id, body, attempts FROM webhook_messages due
             WHERE delivered_at IS NULL AND given_up_at IS NULL AND next_at <= now()
               AND NOT EXISTS (SELECT 1 FROM webhook_messages earlier
                                WHERE earlier.about = due.about AND earlier.sequence < due.sequence
                                  AND earlier.delivered_at IS NULL AND earlier.given_up_at IS NULL)
             ORDER BY sequence LIMIT 1 FOR UPDATE SKIP LOCKED
            """
        ).fetchone()
        if message:
            pause = PAUSES[message.attempts] if message.attempts < len(PAUSES) else None
            cursor.execute(
                """
                /* webhooks.take */
                UPDATE webhook_messages
                   SET attempts = attempts + 1, next_at = coalesce(clock_timestamp() + %(pause)s::interval, next_at),
                       given_up_at = CASE WHEN %(pause)s::interval IS NULL THEN clock_timestamp() END
                 WHERE message_id = %(message_id)s
                """,
                {"pause": pause, "message_id": message.message_id},
            )
    return message


def _sent(connection: Connection, message: Message) -> None:
    connection.execute(
        """
        /* webhooks.sent */
        UPDATE webhook_messages SET delivered_at = clock_timestamp(), given_up_at = NULL, last_error = NULL
         WHERE message_id = %s
        """,
        (message.message_id,),
    )


def _failed(connection: Connection, message: Message, error: str) -> None:
    connection.execute(
        "/* webhooks.failed */ UPDATE webhook_messages SET last_error = %s WHERE message_id = %s",
        (error, message.message_id),
    )
