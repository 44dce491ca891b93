"""Sends beacons while environments are killed and PostgreSQL is restarted, and holds what was acknowledged against what is stored.

    .venv/bin/python benchmarks/soak.py [--seconds 600] [--kill-every 10] [--restarts 2] [--share 0.7]

Peak load is measured first; then *share* of it is sent. Like the pixel, the client sends what was answered 429 or 503
again under the same event_id. Ends with a status other than 0 when an event is missing, is there twice, was stored
though nobody was told so, or when a beacon got any other answer.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import psutil
import psycopg
import uvloop
from ingest import PRODUCT_PORT, ROOT, running, wait_for

from services.postgres import Postgres

CONNECTIONS = 48
PEAK_SECONDS = 4
PAUSE_AFTER_REFUSAL = 0.1
MOST_TRIES = 600
LONGEST_ANSWER_SECONDS = 45
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


class Client:
    """Some connections that send one beacon after another, and count what they are answered."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.acknowledged: set[str] = set()
        self._visitors = itertools.count()

    async def load(self, seconds: float, rate: float | None) -> float:
        """Send for *seconds*, at *rate* beacons a second or as fast as they are answered; the rate that came of it."""
        before, began = len(self.acknowledged), time.monotonic()
        ends = began + seconds
        await asyncio.gather(*(self._connection(ends, rate) for _ in range(CONNECTIONS)))
        return (len(self.acknowledged) - before) / (time.monotonic() - began)

    async def _connection(self, ends: float, rate: float | None) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", PRODUCT_PORT)
        pause = CONNECTIONS / rate if rate else 0.0
        due = time.monotonic() + random.random() * pause
        while time.monotonic() < ends:
            if pause:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due += pause
            event_id = str(uuid.uuid4())
            request = self._request(event_id)
            if await self._until_it_is_taken(reader, writer, request) != "202":
                # Whatever else came, the connection may be in any state.
                break
            self.acknowledged.add(event_id)
        writer.close()

    async def _until_it_is_taken(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> str:
        status = await self._ask(reader, writer, request)
        for _ in range(MOST_TRIES):
            if status not in ("429", "503"):
                break
            await asyncio.sleep(PAUSE_AFTER_REFUSAL)
            status = await self._ask(reader, writer, request)
        return status

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> str:
        writer.write(request)
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LONGEST_ANSWER_SECONDS)
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            status = head[9:12].decode()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, StopIteration) as error:
            status = type(error).__name__
        self.answers[status] += 1
        return status

    def _request(self, event_id: str) -> bytes:
        visitor = f"visitor-{next(self._visitors) % 5000:08}"
        event = {"event_id": event_id, "event_type": "page_view", "url": "https://shop.example.com/", "title": "Shop"}
        body = json.dumps({"visitor_id": visitor, "session_id": visitor, "events": [event]}).encode()
        head = (
            f"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nUser-Agent: {AGENT}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def kill_environments(runner: psutil.Popen, every: float, killed: list[int]) -> None:
    """Kill one process of `collect` now and then, in the middle of whatever it does."""
    while True:
        await asyncio.sleep(every)
        collecting = [child for child in runner.children() if "collect.app.handler" in child.cmdline()]
        if collecting:
            victim = random.choice(collecting)
            victim.kill()
            killed.append(victim.pid)


async def restart_database(postgres: Postgres, times: int, seconds: float) -> None:
    """Stop the server and start it again, evenly over the run."""
    url = postgres.url
    for _ in range(times):
        await asyncio.sleep(seconds / (times + 1))
        await asyncio.to_thread(postgres.stop)
        # From this thread: the server lives as long as the thread that started it.
        postgres.start()
        assert postgres.url == url, "it came back elsewhere"


async def soak(options: argparse.Namespace, postgres: Postgres, runner: psutil.Popen) -> list[str]:
    """Run it all, print what was seen, and say what is wrong."""
    client, killed = Client(), []
    peak = await client.load(PEAK_SECONDS, None)
    trouble = [
        asyncio.create_task(kill_environments(runner, options.kill_every, killed)),
        asyncio.create_task(restart_database(postgres, options.restarts, options.seconds)),
    ]
    rate = await client.load(options.seconds, options.share * peak)
    for task in trouble:
        task.cancel()
    with psycopg.connect(postgres.url) as connection:
        rows = connection.execute("SELECT event_id::text FROM events").fetchall()
    stored = Counter(row[0] for row in rows)
    print(f"peak of this client      {peak:8,.0f} beacons/s; then {rate:,.0f}/s for {options.seconds:.0f} s")
    print(f"environments killed      {len(killed):8,}; PostgreSQL restarted {options.restarts} times")
    print(f"answers                  {dict(client.answers)}")
    print(f"acknowledged, stored     {len(client.acknowledged):8,} {sum(stored.values()):8,}")
    problems = {
        "acknowledged and not stored": len(client.acknowledged - stored.keys()),
        "stored and not acknowledged": len(stored.keys() - client.acknowledged),
        "stored twice": sum(number > 1 for number in stored.values()),
        "answers other than 202, 429 and 503": sum(client.answers.values())
        - sum(client.answers[status] for status in ("202", "429", "503")),
        "restarts that did not happen": sum(
            task.done() and not task.cancelled() and bool(task.exception()) for task in trouble
        ),
    }
    return [f"{what}: {number}" for what, number in problems.items() if number]


def main() -> None:
    """Start PostgreSQL and the product, soak them, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kill-every", type=float, default=10)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        directory = Path(name)
        directory.chmod(0o755)
        postgres = Postgres(directory)
        postgres.start()
        environ = {
            **os.environ,
            "DATABASE_URL": postgres.url,
            "EVOTHESIS_PORT": str(PRODUCT_PORT),
            "EVOTHESIS_DATA_DIR": str(directory / "product"),
        }
        try:
            command = [str(ROOT / ".venv" / "bin" / "evothesis"), "run"]
            with running(command, environ, directory / "product.log") as runner:
                wait_for(f"http://127.0.0.1:{PRODUCT_PORT}/health", runner)
                problems = uvloop.run(soak(options, postgres, runner))
        finally:
            postgres.stop()
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
