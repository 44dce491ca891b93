"""Asynchronous invocations: accepted at once, kept in a file until they have ended, tried again, told of at the end.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
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
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

from emulator import intrinsics
from emulator.errors import Throttled
from emulator.messages import Message, Messages, insist
from emulator.model import AsyncConfig, Target
from emulator.pool import Pool
from emulator.runtime_api import Result

logger = logging.getLogger("emulator")

RETRY_SECONDS = (60.0, 120.0)
# What could not run at all is tried again soon, then less often.
FIRST_THROTTLE_SECONDS = 1.0
LONGEST_THROTTLE_SECONDS = 300.0
# Longer than any invocation takes; whoever held a message when the runtime died gives it up with the next start.
HELD_SECONDS = 86_400.0
ERROR_MESSAGE_BYTES = 1024
# An invocation that is cut off is tried again by the next start; so long it need not be.
STOP_SECONDS = 25.0


class Asynchronous:
    """Accepts events for functions and sees to it that they are invoked, also after a restart."""

    def __init__(self, pools: Mapping[str, Pool], messages: Messages) -> None:
        self._pools = pools
        self._messages = messages
        self._followers: set[asyncio.Task[None]] = set()
        self._attempts: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin with what is due."""
        for function in self._pools:
            _spawn(self._follow(function), self._followers)

    async def stop(self) -> None:
        """Begin nothing more, and give what is under way a while to end."""
        for task in self._followers:
            task.cancel()
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=STOP_SECONDS)
        for task in self._attempts:
            task.cancel()

    def accept(self, function: str, payload: bytes, request_id: str | None = None) -> str:
        """Keep an event for *function* until its invocation has ended; the id of the request is returned."""
        body = payload.decode()
        return self._messages.send(
            _queue(function), body, {"attempts": 0, "throttles": 0}, request_id or str(uuid.uuid4())
        )

    async def _follow(self, function: str) -> None:
        under_way: set[asyncio.Task[None]] = set()
        most = max(1, self._pools[function].limit)
        while True:
            wanted = most - len(under_way)
            for message in await insist(partial(self._messages.receive, _queue(function), wanted, HELD_SECONDS)):
                task = _spawn(self._attempt(function, message), self._attempts)
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            if len(under_way) < most:
                with contextlib.suppress(sqlite3.Error):
                    await self._messages.wait(_queue(function))
            else:
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)

    async def _attempt(self, function: str, message: Message) -> None:
        config = self._pools[function].function.asynchronous
        attempts, throttles = message.attributes["attempts"], message.attributes["throttles"]
        if self._pools[function].limit == 0:
            await insist(partial(self._end, function, message, "ZeroReservedConcurrency", 0, None))
            return
        try:
            result = await self._pools[function].invoke(message.body.encode(), request_id=message.message_id)
        except Throttled as error:
            pause = min(FIRST_THROTTLE_SECONDS * 2**throttles, LONGEST_THROTTLE_SECONDS)
            logger.warning("%s was not invoked, and is again in %.0f s: %s", function, pause, error)
            await insist(partial(self._again, function, message, attempts, throttles + 1, pause, config, None))
            return
        attempts += 1
        if not result.error_type:
            await insist(partial(self._end, function, message, "Success", attempts, result))
        elif attempts > config.retries:
            logger.error("%s failed for the last time, after %d attempts", function, attempts)
            await insist(partial(self._end, function, message, "RetriesExhausted", attempts, result))
        else:
            pause = RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1]
            await insist(partial(self._again, function, message, attempts, throttles, pause, config, result))

    def _again(
        self, function: str, message: Message, attempts: int, throttles: int, pause: float, config: AsyncConfig,
        result: Result | None,
    ) -> None:  # fmt: skip
        if time.time() + pause - message.sent_at > config.max_age_seconds:
            self._end(function, message, "EventAgeExceeded", attempts, result)
        else:
            self._messages.release(message, pause, {"attempts": attempts, "throttles": throttles})

    def _end(self, function: str, message: Message, condition: str, attempts: int, result: Result | None) -> None:
        """Tell whoever is to be told; only then the event is let go of."""
        config = self._pools[function].function.asynchronous
        target = config.on_success if condition == "Success" else config.on_failure
        if target:
            self._tell(target, _record(function, message, condition, attempts, result))
        if condition != "Success" and config.dead_letter_queue:
            self._messages.send(config.dead_letter_queue, message.body, _dead_letter(message, result))
        self._messages.delete([message])

    def _tell(self, target: Target, record: dict[str, Any]) -> None:
        text = json.dumps(record)
        if target.kind == "queue":
            self._messages.send(target.name, text)
        else:
            self.accept(target.name, text.encode())


def _queue(function: str) -> str:
    # No logical id has a space.
    return f"invocations of {function}"


def _record(function: str, message: Message, condition: str, attempts: int, result: Result | None) -> dict[str, Any]:
    """What a destination is told, in the shape that Lambda gives it.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": now,
        "requestContext": {
            "requestId": message.message_id,
            "functionArn": f"{intrinsics.arn(function)}:$LATEST",
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "requestPayload": json.loads(message.body),
    }
    if result:
        record["responseContext"] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if result.error_type:
            record["responseContext"]["functionError"] = "Unhandled"
        record["responsePayload"] = _parsed(result.payload)
    return record


def _dead_letter(message: Message, result: Result | None) -> dict[str, Any]:
    said = _parsed(result.payload) if result else None
    text = str(said.get("errorMessage", "")) if isinstance(said, dict) else ""
    return {
        "RequestID": message.message_id,
        "ErrorCode": 200,
        "ErrorMessage": text.encode()[:ERROR_MESSAGE_BYTES].decode(errors="ignore"),
    }


def _parsed(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")


def _spawn(work: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        logger.error("an asynchronous invocation broke off", exc_info=task.exception())
