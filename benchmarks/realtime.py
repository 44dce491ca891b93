"""Sends 1,000 events a second while real-time exports run, and beside it the same with no export at all.

    .venv/bin/python benchmarks/realtime.py [--rounds 1] [--seconds 120] [--events 1000]

Printed are how long each event took from its commit until both buckets had it verified, and what the exports do to the
time of collect's answers. Ends with a status other than 0 when `evothesis verify` finds an event missing or twice in
either bucket, or a beacon was refused.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from ingest import PRODUCT_SIDE, ROOT, Load, paced, product

CONNECTIONS = 32
EVENTS_A_BEACON = 4
# A minute until the next run begins, and time to end it.
MOST_SECONDS = 240


@dataclass(frozen=True, slots=True)
class Seen:
    """One run: what wrk saw, the events that were stored, and the seconds from commit to both buckets, in order."""

    load: Load
    events: int
    lags: list[float]


def run(schedule: str, rate: float, seconds: float) -> Seen:
    """Start the product with *schedule*, send, and with real-time exports wait until all of it is delivered."""
    os.environ["EXPORT_SCHEDULE"] = schedule
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name, product(Path(name)):
        load = paced(PRODUCT_SIDE, EVENTS_A_BEACON, rate / EVENTS_A_BEACON, CONNECTIONS, seconds)
        url = (Path(name) / "database-url").read_text("utf-8").strip()
        with psycopg.connect(url, autocommit=True) as connection:
            lags = delivered(connection) if schedule == "real-time" else []
            row = connection.execute("SELECT count(*) FROM events").fetchone()
        if lags:
            proven(name)
        return Seen(load, row[0] if row else 0, lags)


def delivered(connection: psycopg.Connection) -> list[float]:
    """Wait until both buckets have every event, and give the seconds that each waited for it, in order."""
    ends = time.monotonic() + MOST_SECONDS
    while time.monotonic() < ends:
        row = connection.execute("SELECT count(*) FROM events_log WHERE exported_at IS NULL").fetchone()
        if row == (0,):
            break
        time.sleep(1)
    else:
        raise SystemExit(f"{row[0] if row else '?'} events were not delivered after {MOST_SECONDS} s")
    rows = connection.execute(
        "SELECT extract(epoch FROM exported_at - created_at)::float AS lag FROM events_log ORDER BY lag"
    )
    return [row[0] for row in rows]


def proven(directory: str) -> None:
    """Have both buckets read back."""
    for side in ("client", "backup"):
        command = [ROOT / ".venv" / "bin" / "evothesis", "verify", side]
        subprocess.run(command, env={**os.environ, "EVOTHESIS_DATA_DIR": directory}, check=True)


def main() -> None:
    """Take turns with and without exports, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--events", type=float, default=1000)
    options = parser.parse_args()
    seen: dict[str, list[Seen]] = {"daily": [], "real-time": []}
    for _ in range(options.rounds):
        for schedule, runs in seen.items():
            runs.append(run(schedule, options.events, options.seconds))
    p99 = {name: statistics.median(one.load.p99_ms for one in runs) for name, runs in seen.items()}
    for name, runs in seen.items():
        rate = statistics.median(one.load.rate for one in runs) * EVENTS_A_BEACON
        print(f"{name:10} {rate:8,.0f} events/s for {options.seconds:.0f} s   collect's p99 {p99[name]:6.1f} ms")
    for one in seen["real-time"]:
        p50, last = one.lags[len(one.lags) // 2], one.lags[len(one.lags) * 99 // 100]
        print(f"{one.events:,} events, from commit to both buckets: p50 {p50:.1f} s, p99 {last:.1f} s")
    print(f"collect's p99 with exports over that without: {p99['real-time'] / p99['daily']:.2f}")
    if refused := sum(one.load.failures for runs in seen.values() for one in runs):
        sys.exit(f"{refused} beacons were not taken")


if __name__ == "__main__":
    main()
