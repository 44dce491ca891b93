"""Exports events to Parquet in one and in two buckets, and prints rows/s and peak memory beside other ways to do it.

    make benchmark    or    .venv/bin/python benchmarks/export.py [--rows 1000000 5000000] [--rounds 3]

Beside it, over the same rows in the same run: DuckDB's PostgreSQL reader (to Parquet, and uploaded), psql's COPY through
gzip (to CSV, and uploaded), psycopg row by row (to Parquet, and uploaded), and, as the limit, a bare `COPY … (FORMAT
binary)` to nowhere. Starts its own PostgreSQL and LocalStack S3, and fills them with seeded, varied events; nothing of it
stays.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from services.localstack import LocalStack
from services.postgres import Postgres, programs
from storage import buckets, database, migrations, settings

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ROOT / "benchmarks" / "baseline"
BASELINE_PYTHON = ROOT / ".venv-benchmark" / "bin" / "python"

MOST_MEMORY = 300 * 1024**2  # A larger export must not need more: 1,000,000 rows or 1,000.
EXPORT = ROOT / "benchmarks" / "export_product.py"
UPLOAD = "import sys; from storage import objects, settings; d = settings.load().destinations()[0]; objects.client(d).upload_file(sys.argv[1], d.bucket, sys.argv[2])"

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
"""


def fill(url: str, rows: int) -> int:
    """Store *rows* events and give the size of the table in bytes."""
    with database.connect(url) as connection:
        migrations.migrate(connection)
        psycopg.ClientCursor(connection).execute(FILL, {"rows": rows})
        # Else whoever reads first writes for all others what it found out about each row.
        connection.execute("VACUUM (ANALYZE) events")
        connection.execute("CHECKPOINT")
        row = connection.execute("SELECT pg_relation_size('events')").fetchone()
        return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True)
class Took:
    """What one way took: seconds, and its peak memory in bytes (RSS of all its processes together; 0 for not measured)."""

    seconds: float
    peak: int


def processes(command: str, environ: dict[str, str]) -> Took:
    """Run a shell's command to its end."""
    began = time.perf_counter()
    process = psutil.Popen(["bash", "-o", "pipefail", "-ec", command], env=environ)
    peaks: dict[int, int] = {}
    while True:
        # Seldom, as it takes the processors from what is measured.
        peaks |= {one.pid: _peak(one) for one in [process, *_children(process)]}
        with suppress(psutil.TimeoutExpired):
            status = process.wait(timeout=0.2)
            break
    if status:
        raise SystemExit(f"failed: {command}")
    return Took(time.perf_counter() - began, sum(peaks.values()))


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _peak(process: psutil.Process) -> int:
    """The most memory that a process has had, which the kernel remembers (proc_pid_status(5), VmHWM)."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def bare_copy(url: str) -> Took:
    """What PostgreSQL and libpq need to hand over the same columns, with nobody looking at them."""
    began = time.perf_counter()
    with database.connect(url) as connection, connection.cursor().copy("COPY events TO STDOUT (FORMAT binary)") as copy:
        for _ in copy:
            pass
    return Took(time.perf_counter() - began, 0)


def ways(url: str, environ: dict[str, str], folder: Path) -> dict[str, Callable[[], Took]]:
    """Every way to bring the events into a bucket, by its name; each writes what was not there before."""
    one = {name: value for name, value in environ.items() if not name.startswith("BACKUP_")}
    file = folder / "events"

    def export(where: dict[str, str]) -> Took:
        with database.connect(url) as connection:
            connection.execute("TRUNCATE export_batches, export_deliveries, object_visitors")
        prefix = f"run-{time.monotonic_ns()}"
        return processes(
            f"'{sys.executable}' '{EXPORT}'", {**where, "CLIENT_S3_PREFIX": prefix, "BACKUP_S3_PREFIX": prefix}
        )

    def uploaded(command: str) -> Took:
        took = processes(f"{command}\n'{sys.executable}' -c '{UPLOAD}' '{file}' baseline/events", one)
        file.unlink()
        return took

    return {
        "evothesis, two buckets": lambda: export(environ),
        "evothesis, one bucket": lambda: export(one),
        "DuckDB to Parquet": lambda: uploaded(f"'{BASELINE_PYTHON}' '{BASELINE}/export_duckdb.py' '{url}' '{file}'"),
        "psql COPY to CSV, gzip": lambda: uploaded(
            f"'{programs()}/psql' '{url}' -qc 'COPY events TO STDOUT (FORMAT csv, HEADER)' | gzip >'{file}'"
        ),
        "row by row to Parquet": lambda: uploaded(f"'{sys.executable}' '{BASELINE}/export_rows.py' '{url}' '{file}'"),
        "bare COPY binary": lambda: bare_copy(url),
    }


def main() -> None:
    """Take turns between all ways, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as directory:
            postgres = Postgres(Path(directory))
            s3 = LocalStack(Path(directory), ROOT / ".venv-localstack" / "bin" / "python")
            try:
                s3.start()
                postgres.start()
                s3.wait()
                measure(postgres.url, s3.url, rows, options.rounds, Path(directory))
            finally:
                postgres.stop()
                s3.stop()


def measure(url: str, s3_url: str, rows: int, rounds: int, folder: Path) -> None:
    """Fill, let each way have its turn in each round, and print what it took."""
    environ = {**os.environ, "DATABASE_URL": url, "AWS_ENDPOINT_URL_S3": s3_url, "EXPORT_FORMAT": "parquet"}
    environ |= {"PRIVACY_KEY": "of the benchmark"}
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
    took: dict[str, list[Took]] = {}
    for _ in range(rounds):
        for name, way in ways(url, environ, folder).items():
            took.setdefault(name, []).append(way())
    print(f"\n{rows:,} events, {size / 1024**2:,.0f} MB of table, medians of {rounds}")
    seconds = {name: statistics.median(one.seconds for one in every) for name, every in took.items()}
    for name, every in took.items():
        peak = max(one.peak for one in every)
        print(f"{name:24} {seconds[name]:7.2f} s {rows / seconds[name]:10,.0f} rows/s {peak / 1024**2:7,.0f} MB")
    for ours in ("evothesis, two buckets", "evothesis, one bucket"):
        ratios = [
            f"{seconds[name] / seconds[ours]:.2f} of {name}" for name in seconds if not name.startswith("evothesis")
        ]
        print(f"{ours}: {', '.join(ratios)}")
        if (peak := max(one.peak for one in took[ours])) > MOST_MEMORY:
            raise SystemExit(f"the export needed {peak / 1024**2:,.0f} MB, more than {MOST_MEMORY / 1024**2:,.0f}")


if __name__ == "__main__":
    main()
