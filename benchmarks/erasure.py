"""Erases one visitor among a thousand from a million events in sixty objects in each of two buckets, and looks for what is left.

    .venv/bin/python benchmarks/erasure.py [--rows 1000000]

Each visitor is in six of twenty batches, each batch in three formats. Printed are the objects that were opened beside those
that held the visitor, and the time beside that of reading every object, which is what it takes without an index. Then ten
more visitors are erased by erasers that are killed (-9) at ten points and begun again. Ends with a status other than 0 when
`verify` finds anything, when an object too many is opened, or when an erased visitor's id stands in any object or version
of one, in any table or in any log.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq

from services.localstack import LocalStack
from services.postgres import Postgres
from storage import buckets, database, erasures, migrations, objects, settings
from storage.export import erase, run, verify

ROOT = Path(__file__).resolve().parents[1]
ERASER = ROOT / "tests" / "storage" / "crash_eraser.py"
SIDES = ("client", "backup")
BATCHES, VISITORS, IN_A_BATCH = 20, 1000, 300
VICTIM = "visitor-000042"
POINTS = (
    "between the suppression and the rows",
    "with the rows gone",
    "between the announcement and the first byte",
    "with an object written",
    "with its old versions gone",
    "before the manifest",
    "with the manifest written",
    "in the middle of the record",
    "with one bucket done",
    "between the receipt and its record",
)
MOST_TRIES = 30
MOST_NEEDLESS = 0.02

FILL = """
    INSERT INTO events (event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent, raw_event_data, created_at)
    SELECT 'page_view', 'session-' || n / 9, visitor, 'shop-' || n %% 7 || '.example', moment,
           'https://shop.example/products/' || n %% 5000, '/products/' || n %% 5000, 'Mozilla/5.0 Chrome/126.0.0.0',
           jsonb_build_object('event_type', 'page_view', 'visitor_id', visitor, 'title', md5(n::text), 'seq', n %% 40), moment
      FROM (SELECT n, date_trunc('hour', now(), 'UTC') - interval '3 hours' + n * interval '1 millisecond' AS moment,
                   'visitor-' || lpad(((n / %(per_batch)s * 50 + n %% %(in_a_batch)s) %% %(visitors)s)::text, 6, '0') AS visitor
              FROM generate_series(0, %(rows)s - 1) n) drawn
"""


def fill(connection: psycopg.Connection, rows: int) -> None:
    """Store *rows* events, in each twentieth of which another choice of visitors is active."""
    wanted = {"rows": rows, "per_batch": rows // BATCHES, "in_a_batch": IN_A_BATCH, "visitors": VISITORS}
    psycopg.ClientCursor(connection).execute(FILL, wanted)
    connection.execute("VACUUM ANALYZE events")


def counted(destinations: Sequence[settings.Destination]) -> list[str]:
    """The keys of events' objects that are got from any bucket from now on, as they are got."""
    got: list[str] = []

    def note(params: dict[str, Any], **_: object) -> None:
        if "/events/" in params.get("Key", ""):
            got.append(f"{params['Bucket']}/{params['Key']}")

    for destination in destinations:
        objects.client(destination).meta.events.register("provide-client-params.s3.GetObject", note)
    return got


def holding(connection: psycopg.Connection, visitor_id: str) -> int:
    """In how many objects of both buckets the visitor is, by the events of each batch."""
    row = connection.execute(
        """
        SELECT 3 * 2 * count(DISTINCT b.batch_id)
          FROM events e JOIN export_batches b ON e.id > b.from_id AND e.id <= b.to_id WHERE e.visitor_id = %s
        """,
        (visitor_id,),
    ).fetchone()
    return int(row[0]) if row else 0


def take_out(connection: psycopg.Connection, visitor_id: str) -> dict[str, Any]:
    """Erase a visitor and give the receipt."""
    key = settings.current().require_privacy_key()
    begun = erasures.erase(connection, key, visitor_id)
    erase.run(settings.current())
    return erasures.progress(connection, begun["erasure_id"])


def die_and_go_on(connection: psycopg.Connection, point: str, visitor_id: str) -> dict[str, Any]:
    """Erase a visitor by an eraser that is killed at *point*, then by the next one."""
    killed = subprocess.run([sys.executable, ERASER, point, visitor_id], check=False)
    if killed.returncode != -signal.SIGKILL:
        raise SystemExit(f"nobody was killed {point}")
    if not connection.execute("SELECT 1 FROM erasures WHERE state <> 'completed'").fetchone():
        return take_out(connection, visitor_id)
    # PostgreSQL may take a moment to see that somebody has died, and keeps the others out until then; the schedule comes again too.
    for _ in range(MOST_TRIES):
        if erase.run(settings.current()).completed:
            break
        time.sleep(1)
    [(erasure_id,)] = connection.execute(
        "SELECT erasure_id FROM erasures ORDER BY requested_at DESC LIMIT 1"
    ).fetchall()
    return erasures.progress(connection, erasure_id)


def texts(destinations: Sequence[settings.Destination]) -> Iterator[tuple[str, bytes]]:
    """Every version of every object of the buckets: its bytes, and what they say once they are unpacked."""
    for destination in destinations:
        client = objects.client(destination)
        for page in client.get_paginator("list_object_versions").paginate(Bucket=destination.bucket):
            for item in page.get("Versions", []):
                got = client.get_object(Bucket=destination.bucket, Key=item["Key"], VersionId=item["VersionId"])
                data = got["Body"].read()
                yield item["Key"], data
                if item["Key"].endswith(".gz"):
                    yield item["Key"], gzip.decompress(data)
                elif item["Key"].endswith(".parquet"):
                    yield item["Key"], _said_in_parquet(data)


def _said_in_parquet(data: bytes) -> bytes:
    """All values, and those of dictionaries that no row has any more."""
    file = pq.ParquetFile(io.BytesIO(data), read_dictionary=["visitor_id"])
    table = file.read()
    kept = [chunk.dictionary.to_pylist() for chunk in table.column("visitor_id").chunks]
    raw = "\n".join(str(value) for value in table.column("raw_event_data").to_pylist())
    return json.dumps([kept, table.column("url").to_pylist(), str(table.schema.metadata)]).encode() + raw.encode()


def left(connection: psycopg.Connection, folder: Path, whom: Sequence[str]) -> list[str]:
    """Where any of *whom* still stands."""
    wanted = [visitor_id.encode() for visitor_id in whom]
    found = {key for key, text in texts(settings.current().destinations()) if any(one in text for one in wanted)}
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    for (table,) in tables:
        query = f"SELECT 1 FROM {table} t WHERE t::text ~ %s LIMIT 1"
        if connection.execute(query, ("|".join(whom),)).fetchone():
            found.add(f"table {table}")
    found |= {str(log) for log in folder.rglob("*.log") if any(one in log.read_bytes() for one in wanted)}
    return sorted(found)


def versioned(destination: settings.Destination) -> None:
    """Make a bucket that keeps every version."""
    buckets.make(destination)
    objects.client(destination).put_bucket_versioning(
        Bucket=destination.bucket, VersioningConfiguration={"Status": "Enabled"}
    )


def main() -> None:
    """Fill, deliver, erase, and look everywhere."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    broken: list[str] = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        postgres = Postgres(folder / "postgres")
        localstack = LocalStack(folder / "s3", ROOT / ".venv-localstack" / "bin" / "python")
        postgres.start()
        localstack.start()
        localstack.wait()
        try:
            os.environ |= {
                "DATABASE_URL": postgres.url,
                "PRIVACY_KEY": "a-key-for-the-benchmark",
                "AWS_ENDPOINT_URL_S3": localstack.url,
                "EXPORT_FORMAT": "parquet,json,csv",
                "EXPORT_BATCH_ROWS": str(rows // BATCHES),
            }
            os.environ |= {f"{side.upper()}_S3_BUCKET": f"{side}-events" for side in SIDES}
            os.environ |= {f"{side.upper()}_S3_ACCESS_KEY": "test" for side in SIDES}
            os.environ |= {f"{side.upper()}_S3_SECRET_KEY": "test" for side in SIDES}
            for destination in settings.current().destinations():
                versioned(destination)
            with database.connect(postgres.url) as connection:
                migrations.migrate(connection)
                broken = measure(connection, folder, rows)
        finally:
            localstack.stop()
            postgres.stop()
    if broken:
        sys.exit("\n".join(broken))


def measure(connection: psycopg.Connection, folder: Path, rows: int) -> list[str]:
    """Print what was measured, and give what is not as it has to be."""
    broken = []
    fill(connection, rows)
    delivered = run.run(settings.current())
    destinations = settings.current().destinations()
    number = sum(len(list(objects.keys(one, f"{one.prefix}/events/"))) for one in destinations)
    print(f"{rows:,} events in {number} objects of {len(delivered.delivered)} batches", flush=True)

    began = time.perf_counter()
    for destination in destinations:
        for key in objects.keys(destination, f"{destination.prefix}/events/"):
            with tempfile.TemporaryFile() as file:
                objects.read(destination, key, file)
    reading = time.perf_counter() - began

    hold = holding(connection, VICTIM)
    opened = counted(destinations)
    began = time.perf_counter()
    receipt = take_out(connection, VICTIM)
    took = time.perf_counter() - began
    needless = (len(set(opened)) - hold) / hold
    print(
        f"one erasure: {hold} objects held the visitor, {len(set(opened))} were opened ({needless:+.1%}), {took:.1f} s"
    )
    print(f"to read every object once and change none: {reading:.1f} s; the erasure took {took / reading:.2f} of it")
    print(
        f"the receipt: {receipt['state']}, {receipt['events_erased']:,} events, "
        f"{sum(one['rows_removed'] for one in receipt['receipt']['buckets']):,} rows of both buckets",
        flush=True,
    )
    broken += [f"{len(set(opened))} objects were opened"] * (not 0 <= needless <= MOST_NEEDLESS)

    whom = [VICTIM]
    for place, point in enumerate(POINTS):
        whom.append(f"visitor-{100 + 77 * place:06}")
        told = die_and_go_on(connection, point, whom[-1])
        buckets_rows = sum(one["rows_removed"] for one in told.get("receipt", {}).get("buckets", ()))
        print(
            f"killed {point}: {told['state']}, {told['events_erased']:,} events, {buckets_rows:,} rows of both buckets",
            flush=True,
        )
        if (told["state"], buckets_rows) != ("completed", 2 * told["events_erased"]):
            broken.append(f"killed {point}: {told}")
    for side in SIDES:
        report = verify.run(settings.current(), side)
        print(
            f"verify {side}: {report.rows:,} rows in {report.objects} objects, {len(report.findings)} findings",
            flush=True,
        )
        broken += [f"{finding.key}: {finding.problem}" for finding in report.findings]
    found = left(connection, folder, whom)
    print(f"the ids of {len(whom)} erased visitors stand in {len(found)} objects, versions, tables and logs")
    return broken + found


if __name__ == "__main__":
    main()
