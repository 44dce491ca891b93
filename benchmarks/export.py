"""Exports events to Parquet and prints rows/s and peak memory beside bare `COPY … (FORMAT binary)`, in the same run.

    .venv/bin/python benchmarks/export.py [--rows 1000000] [--formats parquet]

Starts its own PostgreSQL and LocalStack S3, and fills them with seeded, varied events; nothing of it stays.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil
import psycopg

from services.localstack import LocalStack
from services.postgres import Postgres
from storage import buckets, database, migrations, settings

ROOT = Path(__file__).resolve().parents[1]

MOST_MEMORY = 300 * 1024**2  # A larger export must not need more: 1,000,000 rows or 1,000.

FILL = """
    SELECT setseed(0.42);
    INSERT INTO events (event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent, ip_address, raw_event_data, created_at)
    SELECT (ARRAY['page_view', 'click', 'scroll_depth', 'page_leave', 'form_submit'])[1 + (r * 5)::int %% 5],
           md5('s' || n / 12), md5('v' || (r * 60000)::int), 'shop-' || n %% 37 || '.example.com',
           now() - interval '20 minutes' + n * interval '1 millisecond',
           'https://shop-' || n %% 37 || '.example.com/products/' || (r * 9000)::int || '?utm_source=newsletter&variant=' || md5(n::text),
           '/products/' || (r * 9000)::int,
           'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/' || 100 + n %% 40 || '.0.0.0 Safari/537.36',
           ('203.0.' || n %% 250 || '.0')::inet,
           jsonb_build_object(
               'event_type', 'page_view', 'visitor_id', md5('v' || (r * 60000)::int), 'session_id', md5('s' || n / 12),
               'title', 'Product ' || (r * 9000)::int || ' (naïve café)', 'referrer', 'https://search.example/?q=' || md5((r * 400)::int::text),
               'page_view_id', gen_random_uuid(), 'seq', n %% 40,
               'data', jsonb_build_object('tag', 'button', 'text', 'Add ' || md5((n * 3)::text), 'x', (r * 1920)::int, 'ratio', r)),
           now()
      FROM (SELECT n, random() AS r FROM generate_series(1, %(rows)s) n) drawn;
    ANALYZE events;
"""


def fill(url: str, rows: int) -> int:
    """Store *rows* events and give the size of the table in bytes."""
    with database.connect(url) as connection:
        migrations.migrate(connection)
        psycopg.ClientCursor(connection).execute(FILL, {"rows": rows})
        row = connection.execute("SELECT pg_relation_size('events')").fetchone()
        return int(row[0]) if row else 0


def bare_copy(url: str) -> float:
    """Seconds that PostgreSQL and libpq need to hand over the same columns, with nobody looking at them."""
    began = time.perf_counter()
    with database.connect(url) as connection, connection.cursor().copy("COPY events TO STDOUT (FORMAT binary)") as copy:
        for _ in copy:
            pass
    return time.perf_counter() - began


def export(environ: dict[str, str]) -> tuple[float, int]:
    """Seconds and peak memory (RSS, bytes) of one export in a process of its own, everything included."""
    code = "from storage import settings; from storage.export import run; o = run.run(settings.current()); assert not o.failures, o"
    began = time.perf_counter()
    process = psutil.Popen([sys.executable, "-c", code], env=environ)
    peak = 0
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.005)
    if process.wait():
        raise SystemExit("the export failed")
    return time.perf_counter() - began, peak


def main() -> None:
    """Run both sides and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--formats", default="parquet")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as directory:
        postgres = Postgres(Path(directory))
        s3 = LocalStack(Path(directory), ROOT / ".venv-localstack" / "bin" / "python")
        try:
            s3.start()
            postgres.start()
            s3.wait()
            measure(postgres.url, s3.url, options.rows, options.formats)
        finally:
            postgres.stop()
            s3.stop()


def measure(url: str, s3_url: str, rows: int, formats: str) -> None:
    """Fill, copy, export, and print what it took."""
    environ = {**os.environ, "DATABASE_URL": url, "AWS_ENDPOINT_URL_S3": s3_url, "EXPORT_FORMAT": formats}
    for side in ("CLIENT", "BACKUP"):
        environ |= {
            f"{side}_S3_BUCKET": f"{side.lower()}-bench",
            f"{side}_S3_ACCESS_KEY": "x",
            f"{side}_S3_SECRET_KEY": "x",
        }
    size = fill(url, rows)
    os.environ.update(environ)
    for destination in settings.load().destinations():
        buckets.make(destination)
    copies = [bare_copy(url) for _ in range(3)]
    seconds, peak = export(environ)
    copies.append(bare_copy(url))
    copy = sorted(copies)[len(copies) // 2]
    print(f"{rows:,} events, {size / 1024**2:,.0f} MB of table, {formats} into two buckets")
    print(f"bare COPY binary   {copy:6.2f} s  {rows / copy:10,.0f} rows/s")
    print(
        f"export             {seconds:6.2f} s  {rows / seconds:10,.0f} rows/s  {copy / seconds:.2f} of COPY  peak {peak / 1024**2:,.0f} MB"
    )
    if peak > MOST_MEMORY:
        raise SystemExit(f"the export needed more than {MOST_MEMORY / 1024**2:,.0f} MB")


if __name__ == "__main__":
    main()
