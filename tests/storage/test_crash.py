"""An exporter that is killed anywhere leaves what the next run completes: every event once, in both buckets."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage import database, events, ledger, settings
from storage.export import run, verify

POINTS = [
    "in the middle of the plan",
    "after the plan",
    "between the announcement and the first byte",
    "in the middle of an upload",
    "between the last byte and its record",
    "after the first bucket",
    "before the manifest",
    "with a place for the manifest",
    "before the commit",
    "in the middle of the commit",
]
EXPORTER = Path(__file__).with_name("crash_exporter.py")


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_the_next_run_delivers_every_event_once(
    database_url, buckets, delivered, many, environ, connection, point
):
    environ["EXPORT_FORMAT"] = "json,csv,parquet"
    environ["EXPORT_BATCH_ROWS"] = 4000
    many(10_000)

    killed = subprocess.run([sys.executable, EXPORTER, point], check=False)
    assert killed.returncode == -signal.SIGKILL
    with database.connect(database_url) as observer:
        unplanned = events.count(observer) - ledger.highest_planned(observer)
        assert unplanned or ledger.undelivered(observer), "the kill came after everything was done"

    outcome = run.run(settings.current())

    assert outcome.failures == {}
    for side in ("client", "backup"):
        assert verify.run(settings.current(), side).findings == []
    stored = [row[0] for row in connection.execute("SELECT id FROM events ORDER BY id").fetchall()]
    for side in ("client", "backup"):
        found = delivered(side)
        assert [manifest["rows"] for manifest in found.manifests] == [4000, 4000, 2000]
        for rows in found.rows.values():
            assert sorted(int(row["id"]) for row in rows) == stored
    assert connection.execute("SELECT count(*) FROM events_log WHERE exported_at IS NULL").fetchone() == (0,)
