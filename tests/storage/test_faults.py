"""Whatever fails on the way to a bucket, every event is in both in the end, once: `verify` says so after each fault."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from services.postgres import Postgres
from storage import buckets as storage_buckets
from storage import database, ledger, migrations, objects, settings
from storage.errors import DatabaseUnavailable, ExportRunning
from storage.export import run, transform, verify

FORMATS = "json,csv,parquet"
STOPPED_EXPORTER = Path(__file__).with_name("stopped_exporter.py")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """What is tried again is tried at once."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


@pytest.fixture
def loaded(connection, buckets, many, environ):
    """Events of three batches that are to be delivered in every format."""
    environ["EXPORT_FORMAT"] = FORMATS
    environ["EXPORT_BATCH_ROWS"] = 2000
    many(5000)


@pytest.fixture
def proven(connection, delivered):
    """Prove that both buckets have every stored event once, in every format."""

    def proven():
        stored = [row[0] for row in connection.execute("SELECT id FROM events ORDER BY id").fetchall()]
        assert stored
        for side in ("client", "backup"):
            report = verify.run(settings.current(), side)
            assert (report.findings, report.rows) == ([], len(stored))
            for rows in delivered(side).rows.values():
                assert sorted(int(row["id"]) for row in rows) == stored
        assert connection.execute("SELECT count(*) FROM events_log WHERE exported_at IS NULL").fetchone() == (0,)

    return proven


OUTAGES = [
    ("PutObject", (500, "InternalError"), "failed by itself"),
    ("PutObject", (503, "SlowDown"), "asked too often"),
    ("PutObject", (503, "ServiceUnavailable"), "does not answer for now"),
    ("HeadObject", (503, ""), "does not answer for now"),
    ("PutObject", (403, "AccessDenied"), "grant s3:PutObject"),
    ("HeadObject", (403, ""), "grant s3:GetObject"),
    ("PutObject", (400, "ExpiredToken"), "have expired"),
    ("PutObject", (403, "RequestTimeTooSkewed"), "clock is wrong"),
    ("PutObject", (404, "NoSuchBucket"), "make it, or mend its name"),
    ("PutObject", ReadTimeoutError(endpoint_url="x"), "did not answer in time"),
    ("PutObject", ConnectionClosedError(endpoint_url="x"), "cannot be reached"),
    ("PutObject", EndpointConnectionError(endpoint_url="x"), "nothing listens there"),
]


@pytest.mark.parametrize(("operation", "what", "said"), OUTAGES)
def test_what_one_bucket_refuses_is_said_delays_the_other_in_nothing_and_arrives_once_it_is_mended(
    loaded, fault, proven, connection, operation, what, said
):
    fault("backup", operation, what)
    refused = run.run(settings.current())
    assert said in refused.failures["backup"]
    assert list(refused.failures) == ["backup"]
    assert verify.run(settings.current(), "client").findings == []
    assert verify.run(settings.current(), "client").rows == 5000
    assert connection.execute("SELECT count(exported_at) FROM events_log").fetchone() == (0,)

    fault.lift()
    assert run.run(settings.current()).failures == {}
    proven()


@pytest.mark.parametrize("what", [(500, "InternalError"), (503, "SlowDown"), ConnectionClosedError(endpoint_url="x")])
def test_a_short_hiccup_of_both_buckets_is_sat_out_in_the_same_run(loaded, fault, proven, what):
    for side in ("client", "backup"):
        fault(side, "PutObject", what, times=3)
    assert run.run(settings.current()).failures == {}
    proven()


def test_a_write_that_arrived_though_its_answer_did_not_is_taken_for_what_it_is(loaded, proven, monkeypatch):
    real, lost = objects.write, []

    def write(destination, key, body, fence, **condition):
        real(destination, key, body, fence, **condition)
        if destination.name == "client" and len(lost) < 4:
            lost.append(key)
            raise ReadTimeoutError(endpoint_url="x")

    monkeypatch.setattr(objects, "write", write)
    turns = [run.run(settings.current()).failures for _ in range(5)]
    assert lost
    assert turns[-1] == {}
    proven()


@pytest.mark.parametrize(("harm", "after"), [("cut", 2500), ("cut", 30_000), ("damage", 30_000), ("hang", 30_000)])
def test_an_upload_that_is_cut_off_or_damaged_or_stands_still_leaves_nothing_half(
    loaded, proven, lossy_proxy, s3_url, environ, monkeypatch, harm, after
):
    monkeypatch.setattr(storage_buckets, "READ_SECONDS", 2)
    proxy = lossy_proxy(s3_url)
    environ["CLIENT_S3_ENDPOINT_URL"] = proxy.url
    proxy.set(harm, after)
    outcome = run.run(settings.current())
    assert proxy.harmed
    assert list(outcome.failures) == ["client"]
    assert verify.run(settings.current(), "backup").findings == []
    proxy.set(None)
    assert run.run(settings.current()).failures == {}
    proven()


def test_a_bucket_that_comes_back_after_a_long_absence_gets_all_that_it_missed_oldest_first(
    loaded, proven, buckets, many, environ, delivered
):
    environ["BACKUP_S3_BUCKET"] = f"{buckets.names['backup']}-later"
    buckets.names["backup"] += "-later"
    for hour in range(3):
        assert "backup" in run.run(settings.current()).failures
        many(500, f"2026-11-23 {12 + hour}:15:00+00")
    buckets.s3.create_bucket(Bucket=buckets.names["backup"])

    assert run.run(settings.current()).failures == {}

    proven()
    manifests = sorted(delivered("backup").manifests, key=lambda item: item["sequence"])
    assert [item["id_range"]["after"] for item in manifests] == [0, 2000, 4000, 5000, 5500, 6000]


def test_postgresql_that_is_restarted_in_the_middle_of_a_batch_costs_the_run_and_nothing_else(
    buckets, environ, tmp_path, monkeypatch
):
    server = Postgres(tmp_path)
    server.start()
    try:
        environ["DATABASE_URL"] = server.url
        environ["PRIVACY_KEY"] = "demo-privacy-key"
        environ["EXPORT_FORMAT"] = FORMATS
        with database.connect(server.url) as connection:
            migrations.migrate(connection)
            connection.execute(
                """
                INSERT INTO events (event_type, site_id, timestamp, raw_event_data, created_at)
                SELECT 'page_view', 'a.example', now(), jsonb_build_object('noise', repeat(md5(n::text), 30)),
                       '2026-11-23 10:15:00+00' FROM generate_series(1, 60000) n
                """
            )
        real = transform.Filter.kept

        def restarting(self, batches):
            for number, batch in enumerate(real(self, batches)):
                if number == 1:
                    server.stop()
                    server.start()
                yield batch

        with monkeypatch.context() as patch:
            patch.setattr(transform.Filter, "kept", restarting)
            with pytest.raises(DatabaseUnavailable):
                run.run(settings.current())

        assert run.run(settings.current()).failures == {}
        for side in ("client", "backup"):
            report = verify.run(settings.current(), side)
            assert (report.findings, report.rows) == ([], 60_000)
    finally:
        database.close()
        server.stop()


def test_a_full_disk_is_said_and_nothing_of_the_batch_is_left_behind(loaded, proven, monkeypatch, delivered):
    def full():
        return open("/dev/full", "w+b")

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", full)
        outcome = run.run(settings.current())
    assert len(outcome.failures) == 3
    assert all("No space left on device" in said for said in outcome.failures.values())
    assert not [key for key in delivered("client").keys if "/events/" in key]

    assert run.run(settings.current()).failures == {}
    proven()


def test_of_two_exporters_that_start_at_once_one_works_and_the_other_says_so(loaded, proven):
    code = "from storage import settings; from storage.export import run; run.run(settings.current())"
    both = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(2)]
    said = [one.communicate()[1].decode() for one in both]
    assert 0 in [one.returncode for one in both]
    for one, words in zip(both, said, strict=True):
        assert one.returncode == 0 or ExportRunning.__name__ in words
    proven()


def test_an_exporter_that_was_stopped_and_wakes_after_another_took_over_changes_nothing(
    loaded, proven, connection, database_url
):
    stopped = subprocess.Popen([sys.executable, STOPPED_EXPORTER], stderr=subprocess.PIPE)
    try:
        _wait_until(lambda: Path(f"/proc/{stopped.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        # As a server does it that hears nothing of a machine any more.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        _wait_until(lambda: _free(database_url))
        assert run.run(settings.current()).failures == {}
        proven()
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
        stopped.communicate()
    assert stopped.returncode
    proven()


@pytest.mark.parametrize("minutes", [-90, 90, -60 * 24 * 40])
def test_a_clock_that_was_moved_between_events_loses_none(loaded, proven, many, connection, minutes):
    run.run(settings.current())
    for moment in ("2026-11-23 10:20:00+00", "2026-11-23 10:59:59.999999+00", "2026-11-23 11:00:00+00"):
        many(300, moment)
        row = connection.execute("SELECT %s::timestamptz + %s * interval '1 minute'", (moment, minutes)).fetchone()
        many(300, row[0])
    connection.execute("UPDATE export_batches SET planned_at = planned_at + %s * interval '1 minute'", (minutes,))
    assert run.run(settings.current()).failures == {}
    proven()


def _free(url):
    try:
        with database.connect(url) as other, ledger.claim(other):
            return True
    except ExportRunning:
        return False


def _wait_until(holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
