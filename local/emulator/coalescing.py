"""Requests as records of a batch event: those that wait while the function is busy share its next invocation.

On AWS the same handler stands behind API Gateway → SQS → Lambda. Here each request is answered by its own result, and
only after the invocation that carried it: the handler returns, beside `batchItemFailures`, `answers` with the
`messageIds` of those that each is for.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import orjson

from emulator import metrics, records
from emulator.errors import Throttled
from emulator.http_response import HttpResponse, integration, message
from emulator.model import Batch
from emulator.pool import Pool
from emulator.runtime_api import Result

LONGEST_QUEUE = 4000
# All that was taken and has no answer yet; some thousands of beacons, or a few dozen of the largest.
MOST_BYTES = 64 * 1024 * 1024
# While one batch waits for its commit, the next is read; a third would only make batches smaller.
BATCHES_AT_ONCE = 3
# Below the 6 MB that an event may have.
BATCH_BYTES = 5 * 1024 * 1024
# A process may die of something else while a request is in it, so once is no proof against the request.
MOST_ATTEMPTS_ALONE = 2

logger = logging.getLogger("emulator")


@dataclass(slots=True)
class _Waiting:
    message_id: str
    record: bytes
    respond: Callable[[HttpResponse], None]
    attempts_alone: int = 0


class Coalescer:
    """Answers the requests of one route. An idle function gets a request at once, as a batch of one.

    When a batch fails as a whole (the process died, or it took too long), it is tried again in halves, so that in the
    end only the request that causes it is answered 500. The function has to bear being given a record twice.
    """

    def __init__(self, pool: Pool, batch: Batch) -> None:
        self._pool = pool
        self._batch = batch
        self._queue: deque[_Waiting] = deque()
        self._again: deque[list[_Waiting]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._prefix = str(uuid.uuid4())[:24]
        self._numbers = itertools.count()
        self._bytes = 0
        self._batch_sizes = metrics.BATCH_SIZE.labels(pool.function.name)
        self._waiting_gauge = metrics.QUEUED.labels(pool.function.name)
        self._tail = lru_cache(maxsize=1)(partial(_tail, pool.function.name))

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._queue) + sum(map(len, self._again))

    def submit(self, attributes: Mapping[str, str], body: bytes, respond: Callable[[HttpResponse], None]) -> None:
        """Queue a request; *respond* gets the function's answer, or 503 with Retry-After when it cannot run.

        *attributes* are what the record is to carry beside the body: headers by lower-case name, and `source-ip`.
        """
        message_id = f"{self._prefix}{next(self._numbers) & 0xFFFFFFFFFFFF:012x}"
        record = _record(message_id, attributes, body, self._tail(int(time.time() * 1000)))
        if len(record) > BATCH_BYTES:
            respond(message(413, "Request Entity Too Large"))
        elif len(self._queue) >= LONGEST_QUEUE or self._bytes + len(record) > MOST_BYTES:
            respond(_unavailable())
        else:
            self._bytes += len(record)
            self._queue.append(_Waiting(message_id, record, respond))
            self._dispatch()

    async def drain(self) -> None:
        """Wait until everything that was queued has its answer."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _dispatch(self) -> None:
        while len(self._under_way) < BATCHES_AT_ONCE and (self._again or self._queue):
            batch = self._again.popleft() if self._again else list(self._next())
            task = asyncio.create_task(self._run(batch))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._dispatch()

    def _next(self) -> Iterator[_Waiting]:
        size = 0
        for _ in range(self._batch.size):
            if not self._queue or (size and size + len(self._queue[0].record) > BATCH_BYTES):
                return
            waiting = self._queue.popleft()
            size += len(waiting.record)
            yield waiting

    async def _run(self, batch: list[_Waiting]) -> None:
        answers: Mapping[str, HttpResponse] = {}
        otherwise = _failed
        self._batch_sizes.observe(len(batch))
        self._waiting_gauge.set(self.waiting)
        try:
            result = await self._pool.invoke(records.event([waiting.record for waiting in batch]))
            if not result.ran:
                otherwise = _unavailable
            elif result.error_type:
                batch = self._try_again(batch)
            else:
                answers = _answers(result)
        except Throttled:
            otherwise = _unavailable
        finally:
            for waiting in batch:
                self._bytes -= len(waiting.record)
                try:
                    waiting.respond(answers.get(waiting.message_id) or otherwise())
                except Exception:
                    # A connection in a bad state must not keep the others from their answers.
                    logger.exception("an answer could not be sent")

    def _try_again(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Put what may be innocent back in halves; what is left over has had its chances."""
        if len(batch) == 1:
            batch[0].attempts_alone += 1
            if batch[0].attempts_alone >= MOST_ATTEMPTS_ALONE:
                return batch
            self._again.append(batch)
            return []
        middle = len(batch) // 2
        self._again += [batch[:middle], batch[middle:]]
        return []


def _answers(result: Result) -> dict[str, HttpResponse]:
    """The answers that a result has, by message id; one that cannot be sent is none."""
    answers = {}
    try:
        for answer in orjson.loads(result.payload)["answers"]:
            if response := _response(answer):
                answers.update(dict.fromkeys(answer["messageIds"], response))
    except (ValueError, TypeError, KeyError, AttributeError):
        logger.exception("a batch was answered in no shape that is known")
    return answers


def _response(answer: Any) -> HttpResponse | None:
    try:
        return integration(answer, "1.0")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _failed() -> HttpResponse:
    return message(500, "Internal Server Error")


def _unavailable() -> HttpResponse:
    return message(503, "Service Unavailable", {"retry-after": "1"})


def _record(message_id: str, attributes: Mapping[str, str], body: bytes, tail: bytes) -> bytes:
    """One SQS record: the body as text, in base64 if it is none, and the attributes that have a value.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """
    described = {name: {"stringValue": value, "dataType": "String"} for name, value in attributes.items() if value}
    text = _text(attributes, body)
    if text is None:
        body = base64.b64encode(body)
        text = body.decode()
        described["is-base64"] = {"stringValue": "true", "dataType": "String"}
    return b'{"messageId":"%b","receiptHandle":"%b","body":%b,"messageAttributes":%b,"md5OfBody":"%b",%b' % (
        (name := message_id.encode()),
        name,
        orjson.dumps(text),
        orjson.dumps(described),
        hashlib.md5(body, usedforsecurity=False).hexdigest().encode(),
        tail,
    )


def _tail(function: str, now_ms: int) -> bytes:
    """What every record of a queue says at the same moment, after a comma."""
    return orjson.dumps(records.origin(function, now_ms, now_ms, 1))[1:]


def _text(attributes: Mapping[str, str], body: bytes) -> str | None:
    if attributes.get("content-encoding"):
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
