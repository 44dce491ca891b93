"""The queues of the runtime: messages that outlive it, in one SQLite file.

Written with SQLite's write-ahead log: what was sent survives the death of the process at any moment. A queue is
opened by its first message. One process has the file to itself: whoever looks into it beside us is refused, not waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import logging
import sqlite3
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from emulator import metrics
from emulator.errors import QueuesBroken

T = TypeVar("T")

logger = logging.getLogger("emulator")

# A disk that is full, or a file that somebody took away, may be mended; what was to be kept is tried again until then.
PAUSE_SECONDS = 1.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id                INTEGER PRIMARY KEY,
    queue             TEXT NOT NULL,
    message_id        TEXT NOT NULL,
    body              TEXT NOT NULL,
    attributes        TEXT NOT NULL,
    sent_at           REAL NOT NULL,
    visible_at        REAL NOT NULL,
    first_received_at REAL,
    receives          INTEGER NOT NULL DEFAULT 0,
    is_held           INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS messages_queue_visible_at_idx ON messages (queue, visible_at);
CREATE TABLE IF NOT EXISTS anchors (
    schedule    TEXT PRIMARY KEY,
    anchored_at TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Message:
    """One message that was received: times are seconds since the epoch, *receives* counts this one too."""

    id: int
    message_id: str
    body: str
    attributes: dict[str, Any]
    sent_at: float
    first_received_at: float
    receives: int


class Messages:
    """All queues; nothing of a file but of memory where *path* is None.

    Raises:
        QueuesBroken: the file cannot be used.
    """

    def __init__(self, path: Path | None = None) -> None:
        try:
            self._open(path)
        except sqlite3.Error as error:
            raise QueuesBroken(
                f"{path}: {error}; move it away, and its -wal with it, to start without what waits in it"
            ) from error
        self._news: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def _open(self, path: Path | None) -> None:
        self._database = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=1)
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(SCHEMA)
        # Who held these is gone.
        self._database.execute("UPDATE messages SET is_held = 0, visible_at = 0 WHERE is_held")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def send(
        self, queue: str, body: str, attributes: Mapping[str, Any] | None = None, message_id: str | None = None
    ) -> str:
        """Put a message into *queue* and return its id."""
        message_id = message_id or str(uuid.uuid4())
        now = time.time()
        self._database.execute(
            "INSERT INTO messages (queue, message_id, body, attributes, sent_at, visible_at) VALUES (?, ?, ?, ?, ?, ?)",
            (queue, message_id, body, json.dumps(attributes or {}), now, now),
        )
        self._news[queue].set()
        return message_id

    def receive(self, queue: str, most: int, hidden_seconds: float) -> list[Message]:
        """Up to *most* messages that are due, oldest first; nobody else gets them for *hidden_seconds*."""
        now = time.time()
        rows = self._database.execute(
            """
            UPDATE messages
               SET visible_at = :until, is_held = 1, receives = receives + 1,
                   first_received_at = coalesce(first_received_at, :now)
             WHERE id IN (SELECT id FROM messages WHERE queue = :queue AND visible_at <= :now ORDER BY id LIMIT :most)
         RETURNING id, message_id, body, attributes, sent_at, first_received_at, receives
            """,
            {"queue": queue, "now": now, "until": now + hidden_seconds, "most": most},
        ).fetchall()
        found = (Message(row[0], row[1], row[2], json.loads(row[3]), *row[4:]) for row in rows)
        return sorted(found, key=lambda message: message.id)

    def delete(self, messages: Iterable[Message]) -> None:
        """Take messages out of their queue for good."""
        self._database.executemany("DELETE FROM messages WHERE id = ?", [(message.id,) for message in messages])

    def release(self, message: Message, seconds: float, attributes: Mapping[str, Any] | None = None) -> None:
        """Let a message be received again after *seconds*, with *attributes* in place of its own if they are given."""
        said = message.attributes if attributes is None else attributes
        rows = self._database.execute(
            "UPDATE messages SET visible_at = ?, is_held = 0, attributes = ? WHERE id = ? RETURNING queue",
            (time.time() + seconds, json.dumps(said), message.id),
        ).fetchall()
        # Whoever waits counts on the time that it was hidden for before.
        for (queue,) in rows:
            self._news[queue].set()

    def count(self, queue: str) -> int:
        """How many messages *queue* has, those that are hidden too."""
        [number] = self._database.execute("SELECT count(*) FROM messages WHERE queue = ?", (queue,)).fetchone()
        return int(number)

    def expire(self, queue: str, older_than_seconds: float) -> int:
        """Drop what was sent longer ago than that, and say how many that were."""
        before = time.time() - older_than_seconds
        return self._database.execute("DELETE FROM messages WHERE queue = ? AND sent_at < ?", (queue, before)).rowcount

    async def wait(self, queue: str, most_seconds: float = 60.0) -> None:
        """Return when a message of *queue* is due, or after *most_seconds*."""
        news = self._news[queue]
        news.clear()
        [due] = self._database.execute("SELECT min(visible_at) FROM messages WHERE queue = ?", (queue,)).fetchone()
        patience = most_seconds if due is None else min(most_seconds, max(0.0, due - time.time()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), patience)

    def wake(self, queue: str) -> None:
        """Let whoever waits for *queue* look again."""
        self._news[queue].set()

    def anchor(self, schedule: str, now: dt.datetime) -> dt.datetime:
        """When *schedule* was first heard of: *now*, the first time."""
        self._database.execute("INSERT OR IGNORE INTO anchors VALUES (?, ?)", (schedule, now.isoformat()))
        [found] = self._database.execute("SELECT anchored_at FROM anchors WHERE schedule = ?", (schedule,)).fetchone()
        return dt.datetime.fromisoformat(found)


async def insist(work: Callable[[], T]) -> T:
    """What *work* returns, as soon as the file lets it do its work; it may have to begin anew."""
    while True:
        try:
            return work()
        except sqlite3.Error as error:
            metrics.QUEUE_ERRORS.inc()
            logger.warning("the queues cannot be written, which is tried again: %s", error)
            await asyncio.sleep(PAUSE_SECONDS)
