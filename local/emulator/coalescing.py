"""Requests as records of a batch event: those that wait while the function is busy share its next invocation.

On AWS the same handler stands behind API Gateway → SQS → Lambda. Here each request is answered by its own result, and
only after the invocation that carried it: the handler returns `answers`, one by message id, beside `batchItemFailures`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from emulator.errors import Throttled
from emulator.http_event import Request
from emulator.http_response import HttpResponse, integration, message
from emulator.intrinsics import ACCOUNT_ID, PSEUDO_PARAMETERS
from emulator.pool import Pool
from emulator.runtime_api import Result
from emulator.template import Batch

LONGEST_QUEUE = 4000
# While one batch waits for its commit, the next is read; a third would only make batches smaller.
BATCHES_AT_ONCE = 2
BATCH_BYTES = 4 * 1024 * 1024
# A process may die of something else while a request is in it, so once is no proof against the request.
MOST_ATTEMPTS_ALONE = 2


@dataclass(slots=True)
class _Waiting:
    message_id: str
    record: bytes
    response: asyncio.Future[HttpResponse]
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

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._queue) + sum(map(len, self._again))

    async def answer(self, request: Request) -> HttpResponse:
        """The function's answer to *request*; 503 with Retry-After when too many wait, or nothing can run."""
        message_id = f"{self._prefix}{next(self._numbers) & 0xFFFFFFFFFFFF:012x}"
        record = _record(message_id, request, self._batch.headers, self._pool.function.name)
        if len(record) > BATCH_BYTES:
            return message(413, "Request Entity Too Large")
        if len(self._queue) >= LONGEST_QUEUE:
            return _unavailable()
        waiting = _Waiting(message_id, record, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._dispatch()
        return await waiting.response

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
        try:
            payload = b'{"Records":[' + b",".join(waiting.record for waiting in batch) + b"]}"
            result = await self._pool.invoke(payload)
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
                if not waiting.response.done():
                    waiting.response.set_result(answers.get(waiting.message_id) or otherwise())

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
    try:
        answers = orjson.loads(result.payload)["answers"]
        return {message_id: integration(answer, "1.0") for message_id, answer in answers.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _failed() -> HttpResponse:
    return message(500, "Internal Server Error")


def _unavailable() -> HttpResponse:
    return message(503, "Service Unavailable", {"retry-after": "1"})


def _record(message_id: str, request: Request, headers: tuple[str, ...], function: str) -> bytes:
    """One SQS record: the body as text, in base64 if it is none, and the headers that the template names.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """
    attributes = {name: value for name in headers if (value := request.header(name))}
    attributes["source-ip"] = request.source_ip
    body = _text(request)
    if body is None:
        body = base64.b64encode(request.body).decode()
        attributes["is-base64"] = "true"
    now = str(int(time.time() * 1000))
    region = PSEUDO_PARAMETERS["AWS::Region"]
    record: dict[str, Any] = {
        "messageId": message_id,
        "receiptHandle": message_id,
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": now,
            "SenderId": ACCOUNT_ID,
            "ApproximateFirstReceiveTimestamp": now,
        },
        "messageAttributes": {
            name: {"stringValue": value, "dataType": "String"} for name, value in attributes.items() if value
        },
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{region}:{ACCOUNT_ID}:{function}",
        "awsRegion": region,
    }
    return orjson.dumps(record)


def _text(request: Request) -> str | None:
    if request.header("content-encoding"):
        return None
    try:
        return request.body.decode()
    except UnicodeDecodeError:
        return None
