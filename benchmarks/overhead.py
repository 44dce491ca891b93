"""Measures what the runtime itself costs: the cold start of `collect`, and a warm invocation that does nothing.

    .venv/bin/python benchmarks/overhead.py [--starts 7] [--invocations 2000]

Cold start is the time from the start of the process to the answer to its first beacon, which is stored by then, in a
database whose schema is current. The warm invocation is the whole way of a no-op handler: the runtime, AWS's runtime
client and back. Beside it stands the bare round trip of the same bytes to a process and back, over the same loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from emulator import template
from emulator.runtime import Runtime
from services.postgres import Postgres

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "a-token-for-the-benchmark"
EVENT = json.dumps({"nothing": True}).encode()
WARM_UP = 100

NOTHING = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Nothing:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.handler, CodeUri: ., Runtime: python3.11, MemorySize: 128, Timeout: 5}
"""

ECHO = """
import socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while data := connection.recv(65536):
    connection.sendall(data)
"""


async def cold_starts(url: str, number: int, directory: Path) -> list[float]:
    """Seconds from a process's start to its answer, each with a process of its own; the first makes the schema."""
    declared = template.load(ROOT / "sam-template.yaml", {"DatabaseUrl": url, "AdminToken": TOKEN})
    beacon = (ROOT / "events" / "collect" / "single.json").read_bytes()
    took = []
    for start in range(number + 1):
        runtime = Runtime(declared, data_dir=directory / str(start))
        began = time.perf_counter()
        result = await runtime.invoke("Collect", beacon)
        took.append(time.perf_counter() - began)
        await runtime.stop()
        if json.loads(result.payload).get("statusCode") != 202:
            raise SystemExit(f"collect did not answer 202: {result.payload.decode()}")
    return took[1:]


async def warm_invocations(number: int, directory: Path) -> list[float]:
    """Seconds that each invocation of a handler takes that returns at once."""
    (directory / "app.py").write_text("def handler(event, context):\n    return event\n")
    (directory / "template.yaml").write_text(NOTHING)
    runtime = Runtime(template.load(directory / "template.yaml", {}), data_dir=directory / "data")
    try:
        return await _timed(lambda: runtime.invoke("Nothing", EVENT), number)
    finally:
        await runtime.stop()


async def round_trips(number: int) -> list[float]:
    """Seconds that the same bytes take to a Python process and back."""
    connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()
    server = await asyncio.start_server(lambda *streams: connected.set_result(streams), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    echo = await asyncio.create_subprocess_exec(sys.executable, "-c", ECHO, str(port))
    reader, writer = await connected

    async def trip() -> None:
        writer.write(EVENT)
        await reader.readexactly(len(EVENT))

    took = await _timed(trip, number)
    writer.close()
    await echo.wait()
    server.close()
    return took


async def _timed(work: Callable[[], Awaitable[object]], number: int) -> list[float]:
    took = []
    for _ in range(WARM_UP + number):
        began = time.perf_counter()
        await work()
        took.append(time.perf_counter() - began)
    return took[WARM_UP:]


def _said(name: str, seconds: list[float]) -> str:
    ms = sorted(1000 * second for second in seconds)
    return f"{name:38} median {statistics.median(ms):8.2f} ms   from {ms[0]:.2f} to p99 {ms[int(len(ms) * 0.99)]:.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--invocations", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        postgres = Postgres(directory)
        postgres.start()
        try:
            cold = uvloop.run(cold_starts(postgres.url, options.starts, directory / "cold"))
        finally:
            postgres.stop()
        warm = uvloop.run(warm_invocations(options.invocations, directory))
    trips = uvloop.run(round_trips(options.invocations))
    print(_said("cold start of collect, beacon stored", cold))
    print(_said("warm invocation that does nothing", warm))
    print(_said("bare round trip over loopback", trips))


if __name__ == "__main__":
    main()
