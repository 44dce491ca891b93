"""An erased visitor is in no object of any bucket any more, and everybody else is there as before."""

import datetime as dt
import gzip
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cryptography.exceptions import InvalidSignature

from storage import balance, database, erasures, ledger, objects, settings, visitors
from storage.errors import DeliveryFailed, RestoreRefused, SettingsInvalid
from storage.export import deliver, erase, handoff, receipts, restore, run, verify

KEY = b"demo-privacy-key"
VISITOR = "visitor-42"
# In which events arrive.
HOUR = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)
EXPORTER = Path(__file__).with_name("crash_exporter.py")
ERASER = Path(__file__).with_name("crash_eraser.py")
POINTS = [
    "between the suppression and the rows",
    "with the rows gone",
    "between the announcement and the first byte",
    "with an object written",
    "with its old versions gone",
    "before the manifest",
    "with the manifest written",
    "in the middle of the record",
    "with one bucket done",
    "before the receipt",
    "between the receipt and its record",
]
WORK = "from storage import settings; from storage.export import erase; erase.run(settings.current())"


def export():
    outcome = run.run(settings.current())
    assert outcome.failures == {}
    return outcome


def state(connection, erasure_id):
    return erasures.progress(connection, erasure_id)


@pytest.fixture
def versions(buckets):
    """Every version of every object of one side's bucket, as key and bytes."""

    def versions(side):
        bucket = buckets.names[side]
        listed = buckets.s3.list_object_versions(Bucket=bucket)
        assert not listed.get("DeleteMarkers")
        for item in listed.get("Versions", []):
            body = buckets.s3.get_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])["Body"]
            yield item["Key"], body.read()

    return versions


@pytest.fixture
def versioned(buckets):
    for bucket in buckets.names.values():
        buckets.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def said_in(key, data):
    """All that an object says, dictionaries of values that no row has any more included."""
    if key.endswith(".parquet"):
        table = pq.read_table(io.BytesIO(data), read_dictionary=["visitor_id"] if b"visitor_id" in data else [])
        values = [chunk.dictionary.to_pylist() for chunk in table.column("visitor_id").chunks]
        return repr((table.to_pylist(), values, table.schema.metadata)).encode()
    return gzip.decompress(data) if key.endswith(".gz") else data


@pytest.fixture
def nowhere(versions, connection):
    """Find a text in no object, in no version of one, and in no table."""

    def nowhere(text):
        for side in ("client", "backup"):
            for key, data in versions(side):
                assert text.encode() not in said_in(key, data), key
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows = connection.execute(
                f"SELECT t::text FROM {table} t WHERE strpos(t::text, %s) > 0", (text,)
            ).fetchall()
            assert rows == [], table

    return nowhere


@pytest.fixture
def proven(delivered, nowhere, connection):
    """Both buckets hold every event that the database has, once, and nothing of the visitor."""

    def proven(visitor=VISITOR):
        for side in ("client", "backup"):
            assert verify.run(settings.current(), side).findings == []
        stored = [row[0] for row in connection.execute("SELECT id FROM events ORDER BY id")]
        for rows in delivered("backup").rows.values():
            assert sorted(int(row["id"]) for row in rows) == stored
        nowhere(visitor)

    return proven


def test_every_format_in_both_buckets_is_written_anew_without_the_visitor(
    connection, buckets, versioned, many, environ, proven
):
    environ["EXPORT_FORMAT"] = "json,csv,parquet"
    many(3000)
    export()

    begun = erasures.erase(connection, KEY, VISITOR)
    assert (begun["state"], begun["events_erased"]) == ("pending", 30)
    outcome = erase.run(settings.current())

    assert (outcome.completed, outcome.waiting, outcome.objects) == (1, 0, 6)
    proven()


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_whatever_compresses_them_the_rows_that_stay_are_the_same(
    connection, buckets, many, environ, delivered, compression
):
    environ["EXPORT_FORMAT"] = "json,csv,parquet"
    environ["EXPORT_COMPRESSION"] = compression
    many(900)
    export()
    before = delivered("client").rows

    erasures.erase(connection, KEY, VISITOR)
    erase.run(settings.current())

    after = delivered("client").rows
    for name, rows in before.items():
        assert after[name] == [row for row in rows if row["visitor_id"] != VISITOR]


def test_the_manifest_says_what_is_left_and_the_balance_is_zero(connection, buckets, many, delivered, event):
    many(3000)
    export()
    erasures.erase(connection, KEY, VISITOR)
    erase.run(settings.current())
    for side in ("client", "backup"):
        [manifest] = delivered(side).manifests
        [item] = manifest["objects"]
        assert manifest["rows"] == item["rows"] == sum(manifest["sites"].values()) == 2970
        assert (manifest["first_id"], manifest["last_id"]) == (1, 3000)
        assert [one["rows_removed"] for one in manifest["revisions"]] == [30]


def test_the_receipt_tells_what_was_done_is_signed_and_does_not_name_the_visitor(connection, buckets, many, delivered):
    many(3000)
    export()
    before = {side: delivered(side).manifests[0]["objects"][0] for side in ("client", "backup")}
    erasure_id = erasures.erase(connection, KEY, VISITOR)["erasure_id"]
    erase.run(settings.current())

    receipt = state(connection, erasure_id)["receipt"]

    for one in receipt["buckets"]:
        side = one["destination"]
        [item] = delivered(side).manifests[0]["objects"]
        assert one["rows_removed"] == 30
        assert one["objects"] == [
            {
                "key": item["key"],
                "sha256_before": before[side]["sha256"],
                "sha256_after": item["sha256"],
                "rows_removed": 30,
            }
        ]
        text = buckets.s3.get_object(Bucket=buckets.names[side], Key=f"analytics/erasures/{erasure_id}.json")
        assert json.loads(text["Body"].read()) == receipt
    assert VISITOR not in json.dumps(receipt)
    receipts.verify(receipt, receipt["signature"]["public_key"])
    with pytest.raises(InvalidSignature):
        receipts.verify({**receipt, "events_erased": 31}, receipt["signature"]["public_key"])


def test_only_objects_that_hold_the_visitor_are_opened(connection, buckets, event, environ, monkeypatch, many):
    environ["EXPORT_BATCH_ROWS"] = 100
    many(1000)
    connection.execute("UPDATE events SET visitor_id = 'visitor-alone' WHERE id = 450")
    export()
    opened = []
    read = objects.read
    monkeypatch.setattr(objects, "read", lambda *given: opened.append(given[1]) or read(*given))

    erasures.erase(connection, KEY, "visitor-alone")
    erase.run(settings.current())

    assert len(opened) == 2
    assert len(set(opened)) == 1


def test_of_partitions_only_those_of_the_visitors_sites_are_opened(connection, buckets, many, environ, monkeypatch):
    environ["EXPORT_PARTITION_BY"] = "site_id"
    many(300)
    connection.execute("UPDATE events SET site_id = 'alone.example' WHERE visitor_id = %s", (VISITOR,))
    export()
    opened = []
    read = objects.read
    monkeypatch.setattr(objects, "read", lambda *given: opened.append(given[1]) or read(*given))

    erasures.erase(connection, KEY, VISITOR)
    erase.run(settings.current())

    assert len(opened) == 2
    assert all("site_id=alone.example" in key for key in opened)


def test_one_rewriting_serves_all_who_wait_for_it(connection, buckets, many, proven, delivered):
    many(3000)
    export()
    ids = [erasures.erase(connection, KEY, f"visitor-{number}")["erasure_id"] for number in (42, 43, 44)]

    assert erase.run(settings.current()).objects == 2

    for number, erasure_id in zip((42, 43, 44), ids, strict=True):
        found = state(connection, erasure_id)
        assert found["state"] == "completed"
        assert {one["rows_removed"] for one in found["receipt"]["buckets"]} == {30}
        proven(f"visitor-{number}")


def test_erasures_one_after_the_other_leave_a_chain_that_is_whole(connection, buckets, many, environ, proven):
    environ["EXPORT_BATCH_ROWS"] = 1000
    many(3000)
    export()
    for number in (42, 43):
        erasures.erase(connection, KEY, f"visitor-{number}")
        erase.run(settings.current())
    many(100)
    connection.execute("DELETE FROM events WHERE visitor_id IN ('visitor-42', 'visitor-43')")
    export()
    proven("visitor-43")


def test_what_is_delivered_again_after_an_erasure_takes_its_place_in_the_chain(
    connection, buckets, many, environ, proven
):
    environ["EXPORT_BATCH_ROWS"] = 1000
    many(3000)
    export()
    erasures.erase(connection, KEY, VISITOR)
    connection.execute("DELETE FROM events WHERE visitor_id = 'visitor-43'")
    for side in ("client", "backup"):
        batches = [row[0] for row in connection.execute("SELECT batch_id FROM export_batches")]
        ledger.reopen(connection, batches, side)
    export()
    erase.run(settings.current())
    proven()


def lose(connection):
    for table in ("erasing_events", "erasure_deliveries", "erasure_handoffs", "erasures", "object_visitors", "handoffs",
                  "export_deliveries", "export_batches", "export_balances", "events", "suppressed_visitors",
                  "privacy_key"):  # fmt: skip
        connection.execute(f"DELETE FROM {table}")


def test_who_was_erased_before_anything_was_exported_stays_so_too(connection, buckets, many):
    erasures.erase(connection, KEY, VISITOR)
    assert erase.run(settings.current()).completed == 1
    many(30)
    export()
    lose(connection)
    restore.run(settings.current(), "backup")
    assert visitors.suppressed(connection) == {visitors.hash_of(KEY, VISITOR)}


def test_what_was_handed_off_before_the_database_was_lost_is_gone_through_too(
    connection, buckets, many, environ, nowhere
):
    environ["EXPORT_FORMAT"] = "json"
    many(300)
    export()
    handoff.run(settings.current(), {"from_time": "2026-11-23T00:00:00Z", "to_time": "2026-11-24T00:00:00Z"})
    lose(connection)
    restore.run(settings.current(), "backup")
    erasure_id = erasures.erase(connection, KEY, VISITOR)["erasure_id"]
    assert erase.run(settings.current()).completed == 1
    [told] = state(connection, erasure_id)["receipt"]["handoffs"]
    assert told["rows_removed"] == 3
    nowhere(VISITOR)


@pytest.mark.parametrize("change", ["another visitor", "no receipt"])
def test_receipts_that_are_not_as_they_were_signed_restore_nothing(connection, buckets, many, change):
    many(30)
    export()
    erasure_id = erasures.erase(connection, KEY, "visitor-2")["erasure_id"]
    erase.run(settings.current())
    bucket, key = buckets.names["client"], f"analytics/erasures/{erasure_id}.json"
    told = json.loads(buckets.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    told["visitor_hash"] = f"{visitors.hash_of(KEY, 'visitor-7') & (2**64 - 1):016x}"
    altered = json.dumps(told).encode() if change == "another visitor" else b"read me"
    buckets.s3.put_object(Bucket=bucket, Key=key, Body=altered)
    with pytest.raises(RestoreRefused, match=rf"{erasure_id}.json of the client bucket is no receipt as it was signed"):
        restore.run(settings.current(), "backup")


def test_who_asks_twice_asks_for_one_erasure_and_every_account_adds_up(connection, buckets, many):
    many(300)
    export()
    first, second = (erasures.erase(connection, KEY, VISITOR) for _ in range(2))
    assert second == first
    assert erase.run(settings.current()).completed == 1
    lines = balance.balance(connection, ["client", "backup"], HOUR, HOUR + dt.timedelta(hours=1))
    assert {one.difference for line in lines for one in line.destinations.values()} == {0}
    assert erasures.erase(connection, KEY, VISITOR)["erasure_id"] != first["erasure_id"]


def test_a_clock_that_steps_back_keeps_nobody_in_a_bucket(connection, buckets, many, proven):
    many(300)
    connection.execute("UPDATE moments SET last = now() + interval '10 minutes'")
    export()
    erasures.erase(connection, KEY, VISITOR)
    assert erase.run(settings.current()).objects == 2
    proven()


def test_a_bucket_that_is_not_set_any_more_and_may_have_a_part_of_a_batch_blocks_the_erasure(
    connection, buckets, many, environ, fault
):
    many(300)
    fault("backup", "PutObject", (403, "AccessDenied"))
    run.run(settings.current())
    fault.lift()
    environ["BACKUP_S3_BUCKET"] = ""
    erasure_id = erasures.erase(connection, KEY, VISITOR)["erasure_id"]
    erase.run(settings.current())
    found = state(connection, erasure_id)
    assert (found["state"], "the backup bucket is not set any more" in found["reason"]) == ("blocked", True)


def test_who_was_erased_stays_so_in_a_database_that_takes_the_place_of_a_lost_one(
    connection, buckets, many, environ, database_url
):
    many(300)
    export()
    erasures.erase(connection, KEY, VISITOR)
    erase.run(settings.current())
    lose(connection)
    restore.run(settings.current(), "backup")
    assert connection.execute("SELECT visitor_hash FROM suppressed_visitors").fetchall() == [
        (visitors.hash_of(KEY, VISITOR),)
    ]
    assert verify.run(settings.current(), "backup").findings == []


def test_another_key_than_that_of_the_receipts_restores_nothing(connection, buckets, many, environ):
    many(300)
    export()
    erasures.erase(connection, KEY, VISITOR)
    erase.run(settings.current())
    environ["PRIVACY_KEY"] = "another-privacy-key"
    with pytest.raises(SettingsInvalid, match="PRIVACY_KEY is another one than"):
        restore.run(settings.current(), "backup")


def test_batches_of_which_nobody_knows_who_is_in_them_are_read_through(connection, buckets, many, proven):
    many(300)
    export()
    connection.execute("DELETE FROM object_visitors")
    connection.execute("UPDATE export_deliveries SET unindexed = true")
    erasures.erase(connection, KEY, VISITOR)
    erase.run(settings.current())
    proven()


def test_a_visitor_who_is_in_no_object_has_a_receipt_too(connection, buckets, many):
    many(300)
    export()
    erasure_id = erasures.erase(connection, KEY, "somebody-else")["erasure_id"]
    assert erase.run(settings.current()).completed == 1
    assert state(connection, erasure_id)["receipt"]["buckets"] == []


def test_rows_that_the_database_has_no_more_are_found_in_the_objects(connection, buckets, many, nowhere):
    many(300)
    export()
    connection.execute("DELETE FROM events")
    erasures.erase(connection, KEY, VISITOR)
    erase.run(settings.current())
    nowhere(VISITOR)


@pytest.mark.parametrize(
    "transforms",
    [
        {"hash": ["visitor_id"]},
        {"drop": ["visitor_id"]},
        {"truncate": {"visitor_id": 4}},
        {"rename": {"visitor_id": "who", "site_id": "where_at", "timestamp": "moment"}},
        {"hash": ["site_id", "visitor_id"], "drop": ["timestamp"]},
    ],
)
@pytest.mark.parametrize("name", ["json", "csv", "parquet"])
def test_a_bucket_that_hides_who_a_row_is_of_loses_the_rows_all_the_same(
    connection, buckets, many, environ, delivered, transforms, name
):
    environ["EXPORT_FORMAT"] = name
    environ["EXPORT_HASH_KEY"] = "a-hash-key-that-is-long-enough"
    environ["EXPORT_TRANSFORMS"] = json.dumps(transforms)
    many(300)
    gone = [row[0] for row in connection.execute("SELECT id FROM events WHERE visitor_id = %s", (VISITOR,))]
    export()
    hash_key = b"a-hash-key-that-is-long-enough"
    erasures.erase(connection, KEY, VISITOR, visitors.exported_as(hash_key, VISITOR.encode()))
    assert erase.run(settings.current()).completed == 1

    for side in ("client", "backup"):
        [rows] = delivered(side).rows.values()
        assert len(rows) == 297
        assert {int(row["id"]) for row in rows}.isdisjoint(gone)
        assert verify.run(settings.current(), side).findings == []


def test_a_bucket_that_hides_whose_rows_nobody_knows_any_more_blocks_the_erasure(connection, buckets, many, environ):
    environ["EXPORT_TRANSFORMS"] = json.dumps({"drop": ["visitor_id"]})
    environ["BACKUP_S3_BUCKET"] = ""
    many(300)
    export()
    connection.execute("DELETE FROM events")
    erasure_id = erasures.erase(connection, KEY, VISITOR)["erasure_id"]
    erase.run(settings.current())
    found = state(connection, erasure_id)
    assert found["state"] == "blocked"
    assert "hides whose rows it holds" in found["reason"]


def test_what_the_backup_bucket_tells_is_known_of_one_that_hides(connection, buckets, many, environ, delivered):
    environ["EXPORT_TRANSFORMS"] = json.dumps({"drop": ["visitor_id"]})
    many(300)
    export()
    connection.execute("DELETE FROM events")
    erasures.erase(connection, KEY, VISITOR)
    assert erase.run(settings.current()).completed == 1
    assert [len(delivered(side).rows["parquet"]) for side in ("client", "backup")] == [297, 297]


@pytest.mark.parametrize("operation", ["PutObject", "GetObject", "ListObjectVersions", "DeleteObject"])
def test_a_bucket_that_refuses_blocks_the_erasure_until_it_lets(
    connection, buckets, versioned, many, fault, operation, proven
):
    many(300)
    export()
    erasure_id = erasures.erase(connection, KEY, VISITOR)["erasure_id"]
    fault("client", operation, (403, "AccessDenied"))
    outcome = erase.run(settings.current())
    found = state(connection, erasure_id)
    assert (outcome.completed, found["state"]) == (0, "blocked")
    assert "client bucket" in found["reason"]
    assert "receipt" not in found

    fault.lift()
    assert erase.run(settings.current()).completed == 1
    proven()


def test_an_object_that_was_altered_blocks_the_erasure(connection, buckets, many, delivered):
    many(300)
    export()
    [key] = [key for key in delivered("client").keys if "/events/" in key]
    buckets.s3.put_object(Bucket=buckets.names["client"], Key=key, Body=b"other")
    erasure_id = erasures.erase(connection, KEY, VISITOR)["erasure_id"]
    erase.run(settings.current())
    found = state(connection, erasure_id)
    assert (found["state"], "other bytes than were delivered" in found["reason"]) == ("blocked", True)


def test_the_statistics_of_the_database_quote_nothing_of_the_visitor(connection, buckets, many):
    many(300)
    quoted = "SELECT count(*) FROM pg_stats WHERE tablename = 'events' AND pg_stats::text ~ '\\mvisitor-42\\M'"
    connection.execute("ANALYZE events")
    assert connection.execute(quoted).fetchone() != (0,)
    erasures.erase(connection, KEY, VISITOR)
    assert erase.run(settings.current()).completed == 1
    assert connection.execute(quoted).fetchone() == (0,)


def test_a_bucket_that_is_not_set_any_more_blocks_the_erasure(connection, buckets, many, environ):
    many(300)
    export()
    environ["BACKUP_S3_BUCKET"] = ""
    erasure_id = erasures.erase(connection, KEY, VISITOR)["erasure_id"]
    erase.run(settings.current())
    assert "is not set any more" in state(connection, erasure_id)["reason"]


def test_a_run_that_has_no_time_left_goes_on_in_the_next(connection, buckets, many, proven):
    many(300)
    export()
    erasures.erase(connection, KEY, VISITOR)
    assert erase.run(settings.current(), has_time=lambda: False).waiting == 1
    assert erase.run(settings.current()).completed == 1
    proven()


@pytest.mark.parametrize("moment", ["read", "announced", "written", "placed"])
def test_an_export_that_is_under_way_does_not_bring_the_visitor_back(
    database_url, connection, buckets, versioned, many, monkeypatch, proven, moment
):
    """The erasure begins and is worked on while the exporter stands at a moment after it read the visitor."""
    many(300)
    done = []

    def between(*given, **named):
        if not done:
            done.append(True)
            with database.connect(database_url) as other:
                erasures.erase(other, KEY, VISITOR)
            subprocess.run([sys.executable, "-c", WORK], check=True)
        return real(*given, **named)

    module, name = {
        "read": (deliver, "encode"),
        "announced": (objects, "put"),
        "written": (deliver.contract, "put_where_none_is"),
        "placed": (deliver, "put_manifest"),
    }[moment]
    real = getattr(module, name)
    monkeypatch.setattr(module, name, between)
    export()
    assert done
    erase.run(settings.current())
    assert connection.execute("SELECT state FROM erasures").fetchall() == [("completed",)]
    proven()


def test_versions_of_an_attempt_that_was_given_up_go_too(connection, buckets, versioned, many, environ, proven):
    environ["EXPORT_FORMAT"] = "json"
    environ["EXPORT_PARTITION_BY"] = "site_id"
    many(300)
    connection.execute("UPDATE events SET site_id = 'alone.example' WHERE visitor_id = %s", (VISITOR,))
    killed = subprocess.run([sys.executable, EXPORTER, "before the manifest"], check=False)
    assert killed.returncode == -signal.SIGKILL

    erasures.erase(connection, KEY, VISITOR)
    assert erase.run(settings.current()).waiting == 1
    export()
    assert erase.run(settings.current()).completed == 1
    proven()


def test_a_bucket_that_lacks_another_batch_keeps_nobody_waiting(connection, buckets, many, fault):
    many(300)
    fault("client", "PutObject", (403, "AccessDenied"))
    run.run(settings.current())
    erasures.erase(connection, KEY, "somebody-else")
    assert erase.run(settings.current()).completed == 1


def test_an_export_that_failed_on_the_way_holds_the_erasure_until_it_is_made_again(
    connection, buckets, many, fault, proven
):
    many(300)
    fault("client", "PutObject", (403, "AccessDenied"))
    run.run(settings.current())
    erasure_id = erasures.erase(connection, KEY, VISITOR)["erasure_id"]
    erase.run(settings.current())
    found = state(connection, erasure_id)
    assert (found["state"], "is under way" in found["reason"]) == ("pending", True)

    fault.lift()
    export()
    erase.run(settings.current())
    assert state(connection, erasure_id)["state"] == "completed"
    proven()


TURNS = """
    SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database
     WHERE locktype = 'advisory' AND datname = current_database()
"""


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_the_same_call_or_the_next_run_ends_the_same(
    connection, buckets, versioned, many, environ, proven, point
):
    environ["EXPORT_FORMAT"] = "json,csv,parquet"
    environ["EXPORT_BATCH_ROWS"] = 500
    many(1000)
    export()

    killed = subprocess.run([sys.executable, ERASER, point, VISITOR], check=False)
    assert killed.returncode == -signal.SIGKILL
    # PostgreSQL finds out in its own time that whoever had the turn is gone.
    ends = time.monotonic() + 10
    while connection.execute(TURNS).fetchone():
        assert time.monotonic() < ends, "the turn of who was killed is still taken"
    done = connection.execute("SELECT count(*) FROM erasures WHERE state = 'completed'").fetchone()
    assert done == (0,), "the kill came after everything was done"

    if not connection.execute("SELECT 1 FROM erasures").fetchone():
        # It had no answer, so whoever asked asks again.
        erasures.erase(connection, KEY, VISITOR)
    assert erase.run(settings.current()).completed == 1
    [(receipt,)] = connection.execute("SELECT receipt FROM erasures").fetchall()
    assert receipt["events_erased"] == 10
    assert [one["rows_removed"] for one in receipt["buckets"]] == [5, 5, 5, 5]
    assert all(item["rows_removed"] == 5 for one in receipt["buckets"] for item in one["objects"])
    assert connection.execute("SELECT count(*) FROM object_rewrites").fetchone() == (0,)
    proven()


def test_who_is_erased_without_any_bucket_has_a_receipt_at_once(connection, database_url, many):
    many(300)
    erasures.erase(connection, KEY, VISITOR)
    assert erase.run(settings.current()).completed == 1


def test_a_refusing_bucket_keeps_no_other_erasure_waiting(connection, buckets, many, fault):
    many(300)
    export()
    blocked = erasures.erase(connection, KEY, VISITOR)["erasure_id"]
    free = erasures.erase(connection, KEY, "somebody-else")["erasure_id"]
    fault("client", "GetObject", DeliveryFailed("no"))
    erase.run(settings.current())
    assert (state(connection, blocked)["state"], state(connection, free)["state"]) == ("blocked", "completed")
