"""Upgrades the compose stack from the first schema to the present one under load, and sees what was lost.

    make compose-upgrade        (or: .venv/bin/python tests/compose/upgrade.py [--events 1000000])

The release of then is taken from the history of this repository, and put into the present image in place of ours. A
million events are there already, and 500 a second arrive while `local/containers/upgrade.sh` does its work.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time

from stack import ENVIRON, ROOT, Load, check, compose, deliver, inside, stored, up, verify_both

# The first release with the schema 0001 to 0004 as they are.
FIRST = "42487568a4d398d9f265e6a4e41187cb91195bf9"
DOCKERFILE = """
FROM evothesis-runtime
USER root
RUN rm -rf /app/functions /app/layers /app/local /app/sam-template.yaml
COPY functions /app/functions
COPY layers /app/layers
COPY local /app/local
COPY sam-template.yaml /app/
USER evothesis
"""
FILL = """
INSERT INTO events (event_type, session_id, visitor_id, site_id, timestamp, url, path, raw_event_data, created_at)
SELECT 'page_view', 's' || i / 10, 'v' || i / 50, 'site' || i % 20 || '.example.com', at,
       'https://site' || i % 20 || '.example.com/page/' || i % 997, '/page/' || i % 997,
       jsonb_build_object('event_type', 'page_view', 'title', repeat('A page of the shop ', 10), 'n', i), at
  FROM generate_series(1, {count}) AS i, LATERAL (SELECT now() - interval '1 day' + i * interval '10 milliseconds' AS at)
"""


def build_the_first() -> None:
    """Give the image of the runtime the code of the first release."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", FIRST, "functions", "layers", "local", "sam-template.yaml"],
            cwd=ROOT, check=True, stdout=subprocess.PIPE,
        )  # fmt: skip
        subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
        made = ["docker", "build", "--quiet", "--tag", "evothesis-runtime", "--file", "-", folder]
        subprocess.run(made, env=ENVIRON, input=DOCKERFILE, text=True, check=True, stdout=subprocess.DEVNULL)


def sql(text: str) -> str:
    """What PostgreSQL answers."""
    return inside("postgres", "psql", "-U", "evothesis", "-Atc", text)


def main() -> None:
    """Go through all of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000, help="so many are there before")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    wanted = parser.parse_args()
    compose("build", "--quiet")
    build_the_first()
    try:
        up()
        before = sql("SELECT max(version) FROM schema_migrations")
        sql(FILL.format(count=wanted.events))
        # They have been there for long: what the disk still has to write of them is none of the upgrade's.
        sql("VACUUM ANALYZE events")
        sql("CHECKPOINT")
        os.sync()
        with Load(rate=40, events=13, threads=8) as load:
            time.sleep(5)
            began = time.monotonic()
            subprocess.run([ROOT / "local/containers/upgrade.sh"], env=ENVIRON, check=True, capture_output=True)
            lasted = time.monotonic() - began
            time.sleep(5)
        after = sql("SELECT max(version) FROM schema_migrations")
        check(f"schema {before} became {after} in {lasted:.0f} s", int(after) > int(before))
        rate = len(load.acknowledged) / (lasted + 10)
        lost = len(load.acknowledged.keys() - stored())
        check(f"of {len(load.acknowledged):,} events, {rate:,.0f}/s, {lost} were lost", not lost)
        print(f"      {load.refused} beacons were refused, which a browser sends again")
        check(f"the longest pause was {load.longest_pause():.2f} s", load.longest_pause() < 1)
        deliver("all of it")
        verify_both()
    finally:
        if not wanted.keep:
            compose("down", "--volumes")


if __name__ == "__main__":
    main()
