"""Drops ten million old events while beacons arrive, and says what that does to the time of collect's answers.

    .venv/bin/python benchmarks/retention.py [--rows 10000000] [--seconds 60] [--events 1000]

Once to warm up, then three times the same load: before, while retention runs, and after it has ended. Ends with a status other than 0 when an
event that is too old is left, a younger one is gone, or a beacon was refused.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from ingest import PRODUCT_SIDE, ROOT, Load, paced, product

CONNECTIONS = 32
EVENTS_A_BEACON = 4
DAYS = 30
STEP = 500_000
MOST_SECONDS = 300


def fill(connection: psycopg.Connection, rows: int) -> None:
    """Store *rows* events of a year, all older than `DAYS`, as varied and as wide as those of a shop."""
    for first in range(0, rows, STEP):
        connection.execute(
            """
            INSERT INTO events (event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent, ip_address,
                                raw_event_data, created_at)
            -- Ids in the order of time, as the pixel makes them.
            SELECT lpad(to_hex(n), 32, '0')::uuid, (ARRAY['page_view', 'click', 'scroll', 'purchase'])[1 + n %% 4], md5((n / 9)::text), md5((n / 31)::text),
                   'shop' || n %% 20 || '.example', moment, 'https://shop.example/product/' || n %% 5000 || '?utm_source=mail',
                   '/product/' || n %% 5000, 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0.0.0',
                   '203.0.113.0', jsonb_build_object('title', 'Product ' || n %% 5000, 'sku', md5(n::text), 'n', n), moment
              FROM (SELECT n, now() - make_interval(days => %(days)s + 1) - interval '365 days' * (1 - n::float / %(rows)s) AS moment
                      FROM generate_series(%(first)s, %(last)s) n) made
            """,
            {"days": DAYS, "rows": rows, "first": first, "last": min(first + STEP, rows) - 1},
        )
    connection.execute("ANALYZE events")


def settle(connection: psycopg.Connection) -> None:
    """Wait until PostgreSQL has cleaned up behind what was done, so that nothing but the load is measured."""
    connection.execute("VACUUM events")
    connection.execute("CHECKPOINT")
    ends = time.monotonic() + MOST_SECONDS
    while time.monotonic() < ends:
        row = connection.execute("SELECT count(*) FROM pg_stat_progress_vacuum").fetchone()
        if row == (0,):
            return
        time.sleep(1)
    raise SystemExit("autovacuum does not end")


def load(options: argparse.Namespace) -> Load:
    """The same beacons, at the same pace."""
    return paced(PRODUCT_SIDE, EVENTS_A_BEACON, options.events / EVENTS_A_BEACON, CONNECTIONS, options.seconds)


def main() -> None:
    """Fill, send three times, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--events", type=float, default=1000)
    options = parser.parse_args()
    os.environ |= {
        "EXPORT_SCHEDULE": "daily",
        "POLICY": json.dumps({"events_days": DAYS}),
        "RETENTION_WAITS_FOR_BUCKETS": "false",
    }
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name, product(Path(name)):
        url = (Path(name) / "database-url").read_text("utf-8").strip()
        with psycopg.connect(url, autocommit=True) as connection:
            began = time.monotonic()
            fill(connection, options.rows)
            print(f"{options.rows:,} old events stored in {time.monotonic() - began:.0f} s", flush=True)
            settle(connection)
            # What the disk still owes for the filling is paid by a load that nobody counts.
            load(options)
            settle(connection)
            before = load(options)
            command = [ROOT / ".venv" / "bin" / "evothesis", "invoke", "Retention"]
            began = time.monotonic()
            with subprocess.Popen(
                command, env={**os.environ, "EVOTHESIS_DATA_DIR": name}, stdout=subprocess.PIPE, text=True
            ) as retention:
                during = load(options)
                ran_on = retention.poll() is None
                said, _ = retention.communicate()
            took = time.monotonic() - began
            settle(connection)
            after = load(options)
            old, stored = connection.execute(
                "SELECT count(*) FILTER (WHERE created_at < now() - make_interval(days => %s)), count(*) FROM events",
                (DAYS,),
            ).fetchone() or (0, 0)
    print(f"retention: {said.strip()} in {took:.0f} s, {'longer' if ran_on else 'SHORTER'} than the load")
    for what, seen in (("before", before), ("while it runs", during), ("after", after)):
        print(f"{what:14} {seen.rate * EVENTS_A_BEACON:8,.0f} events/s   collect's p99 {seen.p99_ms:6.1f} ms")
    usual = (before.p99_ms + after.p99_ms) / 2
    print(f"collect's p99 while retention runs over that without: {during.p99_ms / usual:.2f}")
    if failures := sum(seen.failures for seen in (before, during, after)):
        sys.exit(f"{failures} beacons were not taken")
    if stored - old < options.events * options.seconds:
        sys.exit(f"only {stored - old} younger events are left")
    # What one invocation has no time for is left to the next.
    if old and not json.loads(said)["unfinished"]:
        sys.exit(f"{old} events that are too old are left")


if __name__ == "__main__":
    main()
