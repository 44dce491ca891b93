"""Proves the compose stack on a Docker engine: the walk from the page to both buckets, and the death of every part.

    make compose-check        (or: .venv/bin/python tests/compose/check.py [--keep])

It builds the images of this checkout and runs them beside whatever else runs; what it made goes again.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
from playwright.sync_api import sync_playwright
from stack import (
    API,
    OURS,
    PARTS,
    SITE,
    Load,
    check,
    compose,
    deliver,
    docker,
    inside,
    is_refused,
    s3,
    stored,
    up,
    verify_both,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "journey"))
from demo_walk import ARGUMENTS, CHROMIUM, agrees, visitor_of, walk

STREAMED = (
    "SELECT flush_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication WHERE application_name = 'pg_receivewal'"
)
HIDDEN = ("/events/count", "/export/status", "/sites", "/usage", "/webhooks", "/erasures", "/visitors/x/events")


def look_at_the_front(admin: dict[str, str]) -> None:
    """What the world sees, and what it does not."""
    pixel = httpx.get(f"{SITE}/js/tracking.js", headers={"Accept-Encoding": "br"})
    check("the pixel comes by brotli", pixel.headers.get("content-encoding") == "br")
    page = httpx.get(f"{SITE}/")
    check(
        "the demo site says what its pages may load", "default-src" in page.headers.get("content-security-policy", "")
    )
    hidden = {path: httpx.get(f"{SITE}{path}", headers=admin).status_code for path in HIDDEN}
    check("no route of the operator's is on the sites' port", set(hidden.values()) == {404})
    check("the API wants its token", httpx.get(f"{API}/events/count").status_code == 401)
    wrong = {"Authorization": "Bearer a-guess"}
    with httpx.Client() as client:
        guesses = Counter(client.get(f"{API}/events/count", headers=wrong).status_code for _ in range(200))
    check(f"who guesses tokens is held up: {dict(guesses)}", guesses[429] > guesses[401])
    time.sleep(6)
    large = httpx.post(f"{SITE}/collect", content=b"x" * 1_100_000)
    check("a body that is too large is refused", large.status_code == 413)


def look_inside() -> None:
    """Nobody is root, nobody can write where he should not, and how large the images are."""
    for part in OURS:
        check(f"{part} is not root", inside(part, "id", "-u") != "0")
        check(f"{part} cannot write to its own file system", is_refused(part, "echo x > /usr/x"))
        image = compose("images", "--quiet", part)
        megabytes = int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6
        print(f"      {part}: image of {megabytes:,.0f} MB")


def walk_through(admin: dict[str, str]) -> None:
    """What a person does on the demo site is, once each, in both buckets."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_context(viewport={"width": 1000, "height": 700}).new_page()
        refused: list[str] = []
        page.on("console", lambda said: refused.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: refused.append(str(error)))
        caused = walk(page, SITE)
        visitor_id = visitor_of(page)
        page.close(run_before_unload=False)
        browser.close()
    check(f"no page had an error {refused or ''}", not refused)
    deadline = time.monotonic() + 20
    while len(of_visitor(visitor_id, admin)) < len(caused) and time.monotonic() < deadline:
        time.sleep(0.2)
    deliver("what was done on the pages")
    for side in ("client", "backup"):
        events = sorted(
            (event for event in in_bucket(f"{side}-analytics") if event["visitor_id"] == visitor_id),
            key=lambda event: (event["raw_event_data"]["timestamp"], event["raw_event_data"]["seq"]),
        )
        is_all = len(events) == len(caused) and all(map(agrees, events, caused))
        check(f"all {len(caused)} events of the walk are once in the {side} bucket", is_all)


def of_visitor(visitor_id: str, admin: dict[str, str]) -> list[Any]:
    """What is stored of a visitor."""
    events = httpx.get(f"{API}/events/recent?limit=1000", headers=admin).json()["events"]
    return [event for event in events if event["visitor_id"] == visitor_id]


def in_bucket(bucket: str) -> list[dict[str, Any]]:
    """Every event in a bucket, as its Parquet objects have it."""
    client: Any = s3()
    listed = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="analytics/events/")
    keys = [one["Key"] for page in listed for one in page.get("Contents", ())]
    objects = [client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys if key.endswith(".parquet")]
    rows = [row for data in objects for row in pq.read_table(io.BytesIO(data)).to_pylist()]
    return [{**row, "raw_event_data": json.loads(row["raw_event_data"])} for row in rows]


def kill_each() -> set[str]:
    """Kill one part after the other while beacons arrive; what was acknowledged is stored."""
    acknowledged: set[str] = set()
    for part in PARTS:
        with Load() as load:
            time.sleep(3)
            compose("kill", part)
            up()
            time.sleep(3)
        lost = load.acknowledged.keys() - stored()
        check(
            f"{part} was killed: {len(load.acknowledged)} acknowledged, {load.refused} not, lost {len(lost)}", not lost
        )
        acknowledged |= load.acknowledged.keys()
    return acknowledged


def lose_the_database() -> set[str]:
    """Lose PostgreSQL with its volume, and recover it from its backup: nothing that was acknowledged is missing."""
    with Load() as load:
        time.sleep(5)
    # So that there is what only the log has, and all of it: the last milliseconds before a loss are the server's alone.
    while inside("postgres", "psql", "-U", "evothesis", "-Atc", STREAMED) != "t":
        time.sleep(0.1)
    compose("kill", "postgres")
    compose("rm", "--force", "postgres")
    docker("volume", "rm", "evothesis-check_postgres")
    compose("run", "--rm", "--no-deps", "postgres", "backup.sh", "recover", "/var/lib/postgresql/data")
    up()
    lost = load.acknowledged.keys() - stored()
    check(f"the database was lost and recovered: {len(load.acknowledged)} acknowledged, lost {len(lost)}", not lost)
    return set(load.acknowledged)


def main() -> None:
    """Go through all of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    keep = parser.parse_args().keep
    compose("build", "--quiet")
    began = time.monotonic()
    try:
        up()
        print(f"      healthy after {time.monotonic() - began:.0f} s")
        admin = {"Authorization": f"Bearer {inside('runtime', 'cat', '/data/admin-token')}"}
        look_at_the_front(admin)
        look_inside()
        walk_through(admin)
        acknowledged = kill_each()
        compose("down")
        up()
        check(f"down and up: all {len(acknowledged):,} events are there", acknowledged <= stored())
        deliver("what arrived meanwhile")
        acknowledged |= lose_the_database()
        check(f"all {len(acknowledged):,} events are there", acknowledged <= stored())
        deliver("what came before the loss")
        verify_both()
    finally:
        if not keep:
            compose("down", "--volumes")
    print(f"done after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
