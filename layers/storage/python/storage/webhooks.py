"""Messages to the operator's endpoint, by the Standard Webhooks specification: kept with what they tell of, sent until they arrive.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
from psycopg.rows import class_row

from storage.database import Connection
from storage.post import NotTaken, post
from storage.settings import Settings

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
# In one turn: an endpoint that hangs costs each of them its time-out.
MOST_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Message:
    """One that is due."""

    message_id: str
    body: str
    attempts: int


def tell(connection: Connection, type_: str, data: Mapping[str, Any]) -> str:
    """Keep a message to be sent, and give its id; it is there with the caller's transaction or not at all.

    It is sent under the same id until it arrives, so that whoever gets it twice knows it by that.
    """
    message_id = f"msg_{uuid4().hex}"
    document = {"type": type_, "timestamp": dt.datetime.now(dt.UTC), "data": data}
    connection.execute(
        "/* webhooks.tell */ INSERT INTO webhook_messages (message_id, type, body) VALUES (%s, %s, %s)",
        (message_id, type_, orjson.dumps(document, option=orjson.OPT_UTC_Z).decode()),
    )
    return message_id


def send_due(connection: Connection, settings: Settings) -> dict[str, int]:
    """Send what is due, oldest first, and say how many arrived and failed. Of two callers one sends a message.

    Without an endpoint nothing is sent, and what is kept waits for one.
    """
    outcome = {"sent": 0, "failed": 0}
    if not settings.webhook_url:
        return outcome
    for _ in range(MOST_AT_ONCE):
        message = _take(connection)
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


def _take(connection: Connection) -> Message | None:
    """The next one that is due. The try counts from now on, so that one on which the sender dies holds up no other."""
    with connection.transaction(), connection.cursor(row_factory=class_row(Message)) as cursor:
        message = cursor.execute(
            """
            /* webhooks.next */
            SELECT message_id, body, attempts FROM webhook_messages
             WHERE delivered_at IS NULL AND given_up_at IS NULL AND next_at <= now()
             ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
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
