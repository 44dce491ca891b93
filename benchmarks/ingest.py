"""Sends beacons to this product and to a FastAPI collector, side by side, and prints the ratios.

    make benchmark    or    .venv/bin/python benchmarks/ingest.py [--rounds 3] [--seconds 6]

Both store into the same PostgreSQL, started for this run; `wrk` sends the same beacons to both in turn. The baseline
(benchmarks/baseline) has two workers, inserts each request by itself, and neither validates, redacts nor de-duplicates.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ROOT / "benchmarks" / "baseline"
BASELINE_PYTHON = ROOT / ".venv-benchmark" / "bin" / "python"

PRODUCT_PORT = 8451
BASELINE_PORT = 8452
CONNECTIONS = (64, 128, 256)
COLUMNS = "event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent, ip_address, raw_event_data"
IDLE_SECONDS = 5
MOST_PROBES = 4

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw: answers a second, the 99th percentile of their time in ms, and how many were no success."""

    rate: float
    p99_ms: float
    failures: int


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two collectors."""

    name: str
    port: int

    def load(self, per: int, connections: int, seconds: float, pause_ms: float | None = None) -> Load:
        """Send beacons with *per* events each, as fast as it answers, or with a pause on each connection."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", "-s", "benchmarks/beacons.lua"]
        command += [f"http://127.0.0.1:{self.port}/collect", "--", str(per)]
        command += [str(round(pause_ms))] if pause_ms else []
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        value, unit = re.search(r"99%\s+([0-9.]+)([a-z]+)", said).groups()
        failed = re.search(r"Non-2xx or 3xx responses: ([0-9]+)", said)
        broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
        return Load(
            rate=float(re.search(r"Requests/sec:\s+([0-9.]+)", said)[1]),
            p99_ms=float(value) * UNITS[unit],
            failures=(int(failed[1]) if failed else 0) + sum(map(int, broken.groups() if broken else ())),
        )


BASELINE_SIDE = Side("FastAPI + asyncpg", BASELINE_PORT)
PRODUCT_SIDE = Side("Evothesis", PRODUCT_PORT)
SIDES = (BASELINE_SIDE, PRODUCT_SIDE)


@contextmanager
def product(directory: Path) -> Iterator[psutil.Popen]:
    """The whole product as `make run` starts it; it leaves its database's URL in *directory*."""
    environ = {**os.environ, "EVOTHESIS_PORT": str(PRODUCT_PORT), "EVOTHESIS_DATA_DIR": str(directory)}
    with running([str(ROOT / ".venv" / "bin" / "evothesis"), "run"], environ, directory / "product.log") as process:
        wait_for(f"http://127.0.0.1:{PRODUCT_PORT}/health", process)
        yield process


@contextmanager
def baseline(url: str, directory: Path) -> Iterator[psutil.Popen]:
    """The baseline with its own table in the same database."""
    with psycopg.connect(url) as connection:
        connection.execute((BASELINE / "schema.sql").read_text("utf-8"))
    command = [str(BASELINE_PYTHON), "-m", "uvicorn", "app:app", "--app-dir", str(BASELINE), "--workers", "2"]
    command += ["--port", str(BASELINE_PORT), "--no-access-log", "--log-level", "warning"]
    with running(command, {**os.environ, "DATABASE_URL": url}, directory / "baseline.log") as process:
        wait_for(f"http://127.0.0.1:{BASELINE_PORT}/openapi.json", process)
        yield process


@contextmanager
def running(command: list[str], environ: dict[str, str], log: Path) -> Iterator[psutil.Popen]:
    """A process for as long as the block runs."""
    with log.open("wb") as stream:
        process = psutil.Popen(command, env=environ, stdout=stream, stderr=stream, cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def wait_for(url: str, process: psutil.Popen) -> None:
    """Wait until *url* answers."""
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                raise SystemExit(f"{process.args[0]} ended with {process.returncode}") from None
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"nothing answers at {url}")


def peaks(per: int, rounds: int, seconds: float) -> dict[Side, tuple[float, int]]:
    """For each side the most requests a second, and with how many connections; a median over *rounds*, in turn."""
    seen: dict[tuple[Side, int], list[float]] = {}
    for _ in range(rounds):
        for connections in CONNECTIONS:
            for side in SIDES:
                load = side.load(per, connections, seconds)
                if load.failures:
                    raise SystemExit(f"{side.name} failed {load.failures} requests")
                seen.setdefault((side, connections), []).append(load.rate)
    best = {}
    for side in SIDES:
        medians = {connections: statistics.median(seen[side, connections]) for connections in CONNECTIONS}
        connections = max(medians, key=medians.__getitem__)
        best[side] = medians[connections], connections
    return best


def paced(side: Side, per: int, rate: float, connections: int, seconds: float) -> Load:
    """What *side* does under *rate* requests a second."""
    turn_ms = 1000 * connections / rate
    pause_ms = turn_ms
    for _ in range(MOST_PROBES):
        probe = side.load(per, connections, 3, pause_ms)
        if abs(probe.rate - rate) < 0.05 * rate:
            break
        # The pause is between an answer and the next request, so the time of an answer comes off it.
        pause_ms = max(turn_ms - (1000 * connections / probe.rate - pause_ms), 1)
    return side.load(per, connections, seconds, pause_ms)


def bare_copy(url: str) -> float:
    """Rows a second when PostgreSQL is given the same rows by COPY, into a table with the same indexes."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE copied (LIKE events INCLUDING ALL)")
        select = f"COPY (SELECT event_id, {COLUMNS} FROM events LIMIT 200000) TO STDOUT"
        with connection.cursor().copy(select) as copy:
            rows = [bytes(row) for row in copy]
        began = time.perf_counter()
        with connection.cursor().copy(f"COPY copied (event_id, {COLUMNS}) FROM STDIN") as copy:
            for row in rows:
                copy.write(row)
        took = time.perf_counter() - began
        connection.execute("DROP TABLE copied")
        return len(rows) / took


def memory(process: psutil.Popen) -> tuple[int, int]:
    """Proportional memory (PSS, bytes) of the runtime, and of the S3 stand-in beside it; without PostgreSQL."""
    runtime = s3 = 0
    for child in (process, *process.children(recursive=True)):
        words = " ".join(child.cmdline())
        size = child.memory_full_info().pss
        if "localstack" in words:
            s3 += size
        elif "postgres" not in child.name():
            runtime += size
    return runtime, s3


def main() -> None:
    """Measure both sides and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name, ExitStack() as stack:
        directory = Path(name)
        runner = stack.enter_context(product(directory))
        url = (directory / "database-url").read_text("utf-8").strip()
        stack.enter_context(baseline(url, directory))
        for per in (1, 10):
            measure(per, options.rounds, options.seconds)
        print(f"\nbare COPY of the same rows   {bare_copy(url):10,.0f} rows/s")
        time.sleep(IDLE_SECONDS)
        runtime, s3 = memory(runner)
        print(f"idle memory                  {runtime / 1024**2:10,.0f} MB, and {s3 / 1024**2:,.0f} MB of LocalStack")


def measure(per: int, rounds: int, seconds: float) -> None:
    """Print what both sides do with beacons of *per* events."""
    for side in SIDES:
        side.load(per, CONNECTIONS[0], 2)
    best = peaks(per, rounds, seconds)
    print(f"\nbeacons of {per} event{'s' if per > 1 else ''}, commit before the answer")
    base = best[BASELINE_SIDE][0]
    for side in SIDES:
        peak, connections = best[side]
        half = paced(side, per, peak / 2, connections, seconds)
        print(
            f"{side.name:20} {peak:8,.0f} requests/s {peak * per:8,.0f} events/s  {peak / base:.2f}  ({connections} connections)"
            f"   at {half.rate:6,.0f} requests/s: p99 {half.p99_ms:6.1f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main()
