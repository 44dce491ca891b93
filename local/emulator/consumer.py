"""Invokes functions with the messages of queues, in batches, as an SQS event source does.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence

from emulator import records
from emulator.errors import Throttled
from emulator.messages import Message, Messages
from emulator.model import Queue, QueueSource
from emulator.pool import Pool
from emulator.runtime_api import Result

logger = logging.getLogger("emulator")

BATCH_BYTES = 6 * 1024 * 1024
STOP_SECONDS = 25.0


class Consumer:
    """Takes messages out of queues and deletes those that a function has dealt with."""

    def __init__(
        self, sources: Sequence[QueueSource], queues: Mapping[str, Queue], pools: Mapping[str, Pool], messages: Messages
    ) -> None:
        self._sources = sources
        self._queues = queues
        self._pools = pools
        self._messages = messages
        self._followers: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        """Begin with what is there."""
        self._followers = [asyncio.create_task(self._follow(source)) for source in self._sources]

    async def stop(self) -> None:
        """Take nothing more, and give what is under way a while to end; what does not end is taken again later."""
        self._stopping = True
        for queue in self._queues:
            self._messages.wake(queue)
        if self._followers:
            await asyncio.wait(self._followers, timeout=STOP_SECONDS)
        for task in self._followers:
            task.cancel()

    async def _follow(self, source: QueueSource) -> None:
        queue = self._queues[source.queue]
        while not self._stopping:
            try:
                self._messages.expire(queue.name, queue.retention_seconds)
                if batch := await self._batch(source, queue):
                    await self._invoke(source, queue, batch)
                else:
                    await self._messages.wait(queue.name)
            except Exception:
                logger.exception("%s broke off and goes on", source.name)
                await asyncio.sleep(1)

    async def _batch(self, source: QueueSource, queue: Queue) -> list[Message]:
        """What is due, together with what comes within the window after it."""
        batch = self._receive(source, queue, source.batch_size)
        ends = time.monotonic() + source.window_seconds
        while batch and len(batch) < source.batch_size and not self._stopping:
            left = ends - time.monotonic()
            if left <= 0:
                break
            await self._messages.wait(queue.name, left)
            batch += self._receive(source, queue, source.batch_size - len(batch))
        return batch

    def _receive(self, source: QueueSource, queue: Queue, most: int) -> list[Message]:
        # The time that they may take counts from when the function gets them, not from when the first one came.
        hidden = source.window_seconds + max(queue.visibility_seconds, 1)
        received = self._messages.receive(queue.name, most, hidden)
        if queue.most_receives is None:
            return received
        dead = [message for message in received if message.receives > queue.most_receives]
        for message in dead:
            if queue.dead_letter_queue:
                self._messages.send(queue.dead_letter_queue, message.body, message.attributes, message.message_id)
        self._messages.delete(dead)
        return [message for message in received if message.receives <= (queue.most_receives or 0)]

    async def _invoke(self, source: QueueSource, queue: Queue, batch: list[Message]) -> None:
        made, size = [], 0
        for message in batch:
            made.append(records.of_message(message, queue.name))
            size += len(made[-1])
        if size > BATCH_BYTES and len(batch) > 1:
            middle = len(batch) // 2
            await self._invoke(source, queue, batch[:middle])
            await self._invoke(source, queue, batch[middle:])
            return
        try:
            result = await self._pools[source.function].invoke(records.event(made))
        except Throttled:
            failed = {message.message_id for message in batch}
        else:
            failed = _failed(result, batch, source.reports_failures)
        self._messages.delete(message for message in batch if message.message_id not in failed)
        # The others stay hidden until their time is over.


def _failed(result: Result, batch: Sequence[Message], reports_failures: bool) -> set[str]:
    """The messages that are to be tried again; all of them when the function, or what it reports, is in error."""
    everything = {message.message_id for message in batch}
    if result.error_type:
        return everything
    if not reports_failures:
        return set()
    try:
        returned = json.loads(result.payload)
        failures = (returned or {}).get("batchItemFailures") or []
        named = {item["itemIdentifier"] for item in failures}
    except (ValueError, TypeError, KeyError, AttributeError):
        return everything
    return named if everything.issuperset(named) else everything
