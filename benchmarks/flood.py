"""Sends beacons of made-up hosts among those of real sites, and shows that nothing but the events grows, and no real site loses any.

    .venv/bin/python benchmarks/flood.py [--beacons 1000000]

The beacons go through the handler of `collect` as the runtime hands them over, a hundred at a time, and discovery runs
between them. One in a hundred is of one of twenty real sites; all others name hosts that nobody has seen before, each with a
session of its own and an Origin that agrees. Starts its own PostgreSQL; nothing of it stays.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import IO, Any

import psutil

from services.postgres import Postgres
from storage import database, metering, migrations

A_BATCH = 100
REAL_SITES = 20
BETWEEN_DISCOVERIES = 30_000
MB = 1024**2


def main() -> None:
    """Flood, count, and print; the exit status is 1 when something grew, or was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beacons", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        postgres = Postgres(Path(directory))
        postgres.start()
        os.environ |= {"DATABASE_URL": postgres.url, "PRIVACY_KEY": "of the benchmark", "POWERTOOLS_LOG_LEVEL": "ERROR"}
        # All of it is sent in less than they would take.
        os.environ["DISCOVERY_MINUTES"] = "0"
        try:
            with database.connect(postgres.url) as connection:
                migrations.migrate(connection)
            with open(os.devnull, "w") as nowhere:
                flood(postgres.url, options.beacons, nowhere)
        finally:
            database.close()
            postgres.stop()


def flood(url: str, beacons: int, nowhere: IO[str]) -> None:
    """Send all of them, and print what became of them."""
    # Their settings are those of the environment.
    import collect.app  # noqa: PLC0415
    import domain_discovery.app  # noqa: PLC0415

    process, sent = psutil.Process(), Counter[str]()
    warm = process.memory_info().rss
    began = time.perf_counter()
    for number in range(0, beacons, A_BATCH):
        # Its metrics are for CloudWatch.
        with redirect_stdout(nowhere):
            answer: Any = collect.app.handler({"Records": [_record(number + n, sent) for n in range(A_BATCH)]}, None)
        assert not answer["batchItemFailures"], answer
        if number == A_BATCH * 100:
            warm = process.memory_info().rss
        if number % BETWEEN_DISCOVERIES == 0:
            domain_discovery.app.handler({"source": "aws.events"}, None)
    domain_discovery.app.handler({"source": "aws.events"}, None)
    took, grown = time.perf_counter() - began, process.memory_info().rss - warm
    with database.connect(url) as connection:
        events = dict(connection.execute("SELECT site_id, events FROM sites").fetchall())
        told = dict(connection.execute("SELECT type, count(*) FROM webhook_messages GROUP BY type").fetchall())
        states = dict(connection.execute("SELECT state, count(*) FROM sites GROUP BY state").fetchall())
        row = connection.execute("SELECT count(*), pg_total_relation_size('sites') FROM events").fetchone()
        used = connection.execute(
            """
            SELECT (SELECT count(*) FROM usage_days) + (SELECT count(*) FROM usage_audiences) + (SELECT count(*) FROM usage_types),
                   pg_total_relation_size('usage_days') + pg_total_relation_size('usage_audiences') + pg_total_relation_size('usage_types'),
                   (SELECT sum(events) FROM usage_days)::bigint
            """
        ).fetchone() or (0, 0, 0)
        differing = metering.recount(connection)
    stored, size = row or (0, 0)
    lost = {site: count - events.get(site, 0) for site, count in sent.items() if events.get(site) != count}
    print(f"{beacons:,} beacons in {took:.0f} s, {stored:,} events stored, {beacons - sent.total():,} made-up hosts")
    print(
        f"memory of collect and discovery: {grown / MB:+.0f} MB since the first 10,000; {process.memory_info().rss / MB:.0f} MB"
    )
    print(f"sites: {sum(states.values()):,} rows {states}, {size / MB:.1f} MB; told: {told}")
    print(f"usage: {used[0]:,} rows, {used[1] / MB:.1f} MB, {used[2]:,} events; {len(differing)} differ from a recount")
    print(f"real sites: {len(sent)}, {sent.total():,} events, lost {lost or 'none'}")
    if differing or used[2] != beacons or used[0] > 10_000:
        raise SystemExit(1)
    if lost or stored != beacons or sum(states.values()) > 2_000 or sum(told.values()) > 500 or grown > 100 * MB:
        raise SystemExit(1)


def _record(number: int, sent: Counter[str]) -> dict[str, Any]:
    real = number % 100 == 0
    site = f"real-{number // 100 % REAL_SITES}.example.com" if real else f"made-up-{number}.example.net"
    sent.update([site] if real else [])
    event = {
        "event_type": "page_view",
        "url": f"https://{site}/",
        "session_id": f"session-{number}",
        "visitor_id": f"visitor-{number % 5000}",
    }
    headers = {"content-type": "application/json", "origin": f"https://{site}", "source_ip": "203.0.113.7"}
    return {
        "messageId": f"flood-{number}",
        "eventSource": "aws:sqs",
        "body": json.dumps(event),
        "messageAttributes": {name: {"stringValue": value, "dataType": "String"} for name, value in headers.items()},
    }


if __name__ == "__main__":
    main()
