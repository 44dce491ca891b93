"""An export: planned by the hour, delivered to each bucket on its own, the same in every format."""

import datetime as dt
import json
import threading
import uuid

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import database, events, ledger, settings
from storage.errors import ExportRunning, SettingsInvalid
from storage.export import parquet, restore, run, status, verify


def export(**options):
    return run.run(settings.current(), **options)


def test_every_event_arrives_once_in_every_format_in_both_buckets(connection, buckets, delivered, event, environ):
    environ["EXPORT_FORMAT"] = "json,csv,parquet"
    sent = [
        event(raw_event_data={"data": {"text": 'naïve 😀 "quoted", with a\nnewline', "n": 1.5, "list": [1, None, {}]}}),
        event(session_id=None, visitor_id=None, site_id=None, url=None, path=None, user_agent=None, ip_address=None),
        event(url='=HYPERLINK("http://evil")', user_agent="@SUM(A1)", path="\t+1"),
    ]
    events.append(connection, sent)

    outcome = export()

    assert (outcome.planned, len(outcome.delivered), outcome.failures) == (1, 1, {})
    stored = connection.execute("SELECT id, event_id, raw_event_data, timestamp FROM events ORDER BY id").fetchall()
    for side in ("client", "backup"):
        rows = delivered(side).rows
        for found in rows.values():
            found.sort(key=lambda row: int(row["id"]))
            assert [uuid.UUID(row["event_id"]) for row in found] == [row[1] for row in stored]
        assert [row["raw_event_data"] for row in rows["json"]] == [row[2] for row in stored]
        assert [json.loads(row["raw_event_data"]) for row in rows["parquet"]] == [row[2] for row in stored]
        assert [json.loads(row["raw_event_data"]) for row in rows["csv"]] == [row[2] for row in stored]
        assert [row["timestamp"] for row in rows["parquet"]] == [row[3] for row in stored]
        assert [dt.datetime.fromisoformat(row["timestamp"]) for row in rows["json"]] == [row[3] for row in stored]
        assert [dt.datetime.fromisoformat(row["timestamp"]) for row in rows["csv"]] == [row[3] for row in stored]
        evil = next(row for row in rows["csv"] if row["event_id"] == sent[2].event_id)
        assert (evil["url"], evil["user_agent"], evil["path"]) == ("'" + sent[2].url, "'@SUM(A1)", "'\t+1")


def test_exported_at_is_set_once_both_buckets_have_an_event_and_no_event_is_rewritten(connection, buckets, many):
    many(10)
    before = connection.execute("SELECT max(xmin::text::bigint) FROM events").fetchone()
    export()
    many(5)

    assert connection.execute("SELECT count(exported_at), count(*) FROM events_log").fetchone() == (10, 15)
    assert connection.execute("SELECT max(xmin::text::bigint) FROM events WHERE id <= 10").fetchone() == before


def test_batches_end_with_the_hour_and_with_the_number_of_rows(connection, buckets, delivered, many, environ):
    environ["EXPORT_BATCH_ROWS"] = 100
    many(250, "2026-11-23 10:15:00+00")
    many(50, "2026-11-23 23:59:59.999999+00")
    many(20, "2026-11-24 00:00:00+00")

    assert export().planned == 5

    found = delivered("client")
    assert [manifest["rows"] for manifest in found.manifests] == [100, 100, 50, 50, 20]
    partitions = [manifest["objects"][0]["key"].split("/")[2:4] for manifest in found.manifests]
    assert partitions == [
        *[["date=2026-11-23", "hour=10"]] * 3,
        ["date=2026-11-23", "hour=23"],
        ["date=2026-11-24", "hour=00"],
    ]
    assert not [key for key in found.keys if set(key) & set(":+ ")]


def test_every_batch_holds_one_hour_even_where_ids_and_times_cross(connection, buckets, delivered, many):
    for arrived in ("10:59:59.8", "11:00:00.1", "10:59:59.9", "11:10:00"):
        many(1, f"2026-11-23 {arrived}+00")
    export()

    hours = [
        (manifest["window"]["start"][:13], manifest["window"]["end"][:13], manifest["objects"][0]["key"].split("/")[3])
        for manifest in sorted(delivered("client").manifests, key=lambda item: item["first_id"])
    ]
    assert hours == [(f"2026-11-23T{hour}", f"2026-11-23T{hour}", f"hour={hour}") for hour in ("10", "11", "10", "11")]


def test_batches_follow_one_another_without_a_gap_and_nothing_is_planned_twice(connection, buckets, delivered, many):
    many(10)
    export()
    assert export().planned == 0
    many(10)
    export()

    ranges = [manifest["id_range"] for manifest in delivered("backup").manifests]
    assert ranges == [{"after": 0, "to": 10}, {"after": 10, "to": 20}]


def test_an_hour_in_which_nothing_came_has_a_manifest_of_nothing_and_only_one(connection, buckets, delivered, many):
    assert [export().planned for _ in range(3)] == [1, 0, 0]
    connection.execute("UPDATE export_batches SET planned_at = planned_at - interval '1 hour'")
    many(10)
    assert export().planned == 1
    connection.execute("UPDATE export_batches SET planned_at = planned_at - interval '1 hour'")
    assert [export().planned for _ in range(2)] == [1, 0]

    manifests = sorted(delivered("client").manifests, key=lambda item: item["sequence"])
    assert [(item["rows"], len(item["objects"])) for item in manifests] == [(0, 0), (10, 1), (0, 0)]
    assert [tuple(item["id_range"].values()) for item in manifests] == [(0, 0), (0, 10), (10, 10)]
    assert connection.execute("SELECT count(exported_at) FROM events_log").fetchone() == (10,)


def test_a_bucket_that_refuses_shows_on_a_quiet_site(connection, buckets, environ):
    environ["BACKUP_S3_BUCKET"] = "nowhere-to-be-found"
    assert "NoSuchBucket" in export().failures["backup"]


def test_the_manifest_says_what_its_objects_hold(connection, buckets, delivered, many):
    many(30)
    export()

    [manifest] = delivered("client").manifests
    assert manifest["schema_version"] == 1
    assert (manifest["rows"], manifest["first_id"], manifest["last_id"]) == (30, 1, 30)
    assert manifest["sites"] == {"site0.example": 10, "site1.example": 10, "site2.example": 10}
    assert manifest["first_timestamp"] == manifest["last_timestamp"] == "2026-11-23T10:15:00Z"
    assert manifest["window"] == {"start": "2026-11-23T10:15:00Z", "end": "2026-11-23T10:15:00Z"}


def test_parquet_carries_real_types_and_is_sorted_by_site_and_visitor(connection, buckets, many):
    many(3000)
    export()

    listing = buckets.s3.list_objects_v2(Bucket=buckets.names["client"], Prefix="analytics/events/")
    body = buckets.s3.get_object(Bucket=buckets.names["client"], Key=listing["Contents"][0]["Key"])["Body"].read()
    file = pq.ParquetFile(pa.BufferReader(body))
    table = file.read()
    assert table.schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("id").type == pa.int64()
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    order = list(zip(table["site_id"].to_pylist(), table["visitor_id"].to_pylist(), strict=True))
    assert order == sorted(order)


def test_a_bucket_that_is_missing_holds_up_neither_the_other_nor_the_events_after(
    connection, buckets, delivered, many, environ
):
    working = settings.current().backup_s3_bucket
    environ["BACKUP_S3_BUCKET"] = "nowhere-to-be-found"
    many(10)

    outcome = export()

    assert outcome.delivered == []
    assert "NoSuchBucket" in outcome.failures["backup"]
    assert "make it, or mend its name" in outcome.failures["backup"]
    assert len(delivered("client").rows["parquet"]) == 10
    assert connection.execute("SELECT count(exported_at) FROM events_log").fetchone() == (0,)
    state = {item["destination"]: item for item in status.glance(connection, settings.current())["destinations"]}
    assert (state["client"]["delivered"], state["backup"]["pending"]) == (1, 1)
    assert "NoSuchBucket" in state["backup"]["last_error"]

    environ["BACKUP_S3_BUCKET"] = working
    many(10)
    assert len(export().delivered) == 2
    assert len(delivered("backup").rows["parquet"]) == 20
    assert len(delivered("client").rows["parquet"]) == 20
    assert connection.execute("SELECT count(exported_at) FROM events_log").fetchone() == (20,)


def test_a_batch_that_cannot_be_encoded_holds_up_no_other(connection, buckets, delivered, many, environ, monkeypatch):
    environ["EXPORT_BATCH_ROWS"] = 10
    many(30)
    real = parquet.ParquetWriter.write

    def full_disk_for_the_second(self, rows):
        if rows.column("id")[0].as_py() in range(11, 21):
            raise OSError(28, "No space left on device")
        real(self, rows)

    with monkeypatch.context() as disk:
        disk.setattr(parquet.ParquetWriter, "write", full_disk_for_the_second)
        outcome = export()

    assert len(outcome.delivered) == 2
    [(batch_id, reason)] = outcome.failures.items()
    assert batch_id.endswith("000000000020")
    assert "No space left on device" in reason
    [kept] = ledger.undelivered(connection)
    assert kept.pending == ["client", "backup"]
    assert status.batches(connection, 3)[1]["deliveries"][0]["attempts"] == 1

    assert export().failures == {}
    assert len(delivered("backup").rows["parquet"]) == 30


def test_a_destination_that_is_not_set_any_more_stays_pending_and_fails_no_run(connection, buckets, many, environ):
    many(10)
    with database.connect(settings.current().require_database()) as planner, ledger.claim(planner):
        ledger.plan(planner, ["client", "backup"], ["parquet"], 100)
    environ["BACKUP_S3_BUCKET"] = ""

    assert export().failures == {}

    assert [batch.pending for batch in ledger.undelivered(connection)] == [["backup"]]


def test_an_endpoint_that_does_not_answer_is_told_apart(connection, buckets, many, environ):
    environ["CLIENT_S3_ENDPOINT_URL"] = "http://127.0.0.1:1"
    many(1)
    assert "cannot be reached" in export().failures["client"]


def test_only_one_exporter_runs_at_a_time(database_url, buckets, many):
    many(1)
    with database.connect(database_url) as other, ledger.claim(other), pytest.raises(ExportRunning):
        export()
    assert len(export().delivered) == 1


def test_a_run_that_has_no_time_left_goes_on_in_the_next(connection, buckets, many, environ):
    environ["EXPORT_BATCH_ROWS"] = 5
    many(15)
    answers = iter([True, False])

    first = export(has_time=lambda: next(answers))

    assert (first.planned, len(first.delivered), first.unfinished) == (3, 1, True)
    assert len(export().delivered) == 2


def test_buckets_that_forgot_what_they_had_get_it_again(connection, buckets, delivered, many):
    many(10)
    export()
    for item in buckets.s3.list_objects_v2(Bucket=buckets.names["client"])["Contents"]:
        buckets.s3.delete_object(Bucket=buckets.names["client"], Key=item["Key"])

    assert run.reopen_lost(settings.current()) == 1
    assert connection.execute("SELECT count(exported_at) FROM events_log").fetchone() == (0,)
    export()

    assert len(delivered("client").rows["parquet"]) == 10
    assert connection.execute("SELECT count(exported_at) FROM events_log").fetchone() == (10,)
    assert run.reopen_lost(settings.current()) == 0


def test_an_export_needs_the_clients_bucket(database_url, environ):
    environ["BACKUP_S3_BUCKET"] = "backup-bucket"
    with pytest.raises(SettingsInvalid, match="CLIENT_S3_BUCKET is not set"):
        export()


def test_without_a_backup_bucket_the_client_has_everything_and_that_is_all(
    connection, buckets, delivered, many, environ
):
    environ["BACKUP_S3_BUCKET"] = ""
    many(10)
    export()

    assert len(delivered("client").rows["parquet"]) == 10
    assert connection.execute("SELECT count(exported_at) FROM events_log").fetchone() == (10,)
    assert [item["destination"] for item in status.glance(connection, settings.current())["destinations"]] == ["client"]


def test_the_ledger_refuses_batches_that_overlap(connection):
    insert = """
        INSERT INTO export_batches (batch_id, from_id, to_id, window_start, window_end, formats)
        VALUES (%s, %s, %s, now(), now(), '{json}')
    """
    connection.execute(insert, ("a", 0, 10))
    connection.execute(insert, ("b", 10, 20))
    with pytest.raises(psycopg.errors.ExclusionViolation):
        connection.execute(insert, ("c", 15, 30))


def test_events_that_arrive_while_exports_run_are_delivered_once(database_url, buckets, delivered, event, connection):
    stop = threading.Event()

    def write():
        with database.connect(database_url) as own:
            while not stop.is_set():
                events.append(own, [event() for _ in range(7)])

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    runs = [export() for _ in range(8)]
    stop.set()
    for writer in writers:
        writer.join()
    runs.append(export())

    assert sum(outcome.planned for outcome in runs) > 1
    stored = [row[0] for row in connection.execute("SELECT id FROM events ORDER BY id").fetchall()]
    for side in ("client", "backup"):
        assert sorted(row["id"] for row in delivered(side).rows["parquet"]) == stored


def test_hours_are_utcs_on_a_server_of_another_zone(connection, database_url, buckets, many, delivered):
    connection.execute(f"ALTER DATABASE {database_url.rpartition('/')[2]} SET timezone = 'Asia/Kathmandu'")
    database.close()
    many(3, "2026-11-23 20:15:00+00")
    assert run.run(settings.current()).failures == {}
    [manifest] = delivered("client").manifests
    assert manifest["window"]["start"] == "2026-11-23T20:15:00Z"
    assert "/date=2026-11-23/hour=20/" in manifest["objects"][0]["key"]


def test_a_bucket_with_batches_of_another_database_is_left_as_it_is(connection, buckets, many, new_database, environ):
    many(30)
    assert run.run(settings.current()).failures == {}
    before = {side: buckets.s3.list_objects_v2(Bucket=name)["KeyCount"] for side, name in buckets.names.items()}
    url = environ["DATABASE_URL"] = new_database()
    with database.connect(url) as another:
        another.execute(
            "INSERT INTO events (event_type, timestamp, raw_event_data, created_at) VALUES ('click', now(), '{}', now() - interval '2 hours')"
        )
    environ["BACKUP_S3_PREFIX"] = "a-prefix-of-its-own"
    outcome = run.run(settings.current())
    assert outcome.failures.keys() == {"client"}
    assert "1 batches of another database below analytics/; `evothesis restore client`" in outcome.failures["client"]
    after = {side: buckets.s3.list_objects_v2(Bucket=name)["KeyCount"] for side, name in buckets.names.items()}
    assert after["client"] == before["client"]
    report = verify.run(settings.current(), "client")
    assert (len(report.unknown), report.deliver_again) == (1, [])
    assert after["backup"] > before["backup"]
    environ["CLIENT_S3_PREFIX"] = "another"
    assert run.run(settings.current()).failures == {}


def test_what_somebody_else_puts_beside_the_manifests_holds_up_no_export(connection, buckets, many):
    many(10)
    assert export().failures == {}
    bucket = buckets.names["client"]
    listed = buckets.s3.list_objects_v2(Bucket=bucket, Prefix="analytics/manifests/")
    [key] = [each["Key"] for each in listed["Contents"]]
    folder = key.rpartition("/")[0]
    for other in (f"{folder}/", f"{key}.bak", f"{folder}_$folder$", f"{folder}/notes.json"):
        buckets.s3.put_object(Bucket=bucket, Key=other, Body=b"")
    many(10)
    assert export().failures == {}


def last_errors():
    def told(connection):
        return status.glance(connection, settings.current())["destinations"]

    return [one["last_error"] for one in database.run(settings.current().require_database(), told)]


def test_a_run_that_is_refused_leaves_nothing_that_a_restore_stumbles_over(
    connection, buckets, many, new_database, environ
):
    many(30)
    assert run.run(settings.current()).failures == {}
    url = environ["DATABASE_URL"] = new_database()
    database.connect(url).close()

    outcome = run.run(settings.current())

    assert (outcome.planned, outcome.failures.keys()) == (0, {"client", "backup"})
    assert ["of another database" in said for said in last_errors()] == [True, True]
    assert restore.run(settings.current(), "backup").events == 30
    assert run.run(settings.current()).failures == {}
    assert last_errors() == [None, None]


def test_what_a_bucket_had_before_the_other_was_set_holds_up_no_export(
    connection, buckets, many, new_database, environ
):
    environ["BACKUP_S3_BUCKET"] = ""
    many(5)
    assert run.run(settings.current()).failures == {}
    environ["BACKUP_S3_BUCKET"] = buckets.names["backup"]
    many(5)
    assert run.run(settings.current()).failures == {}
    url = environ["DATABASE_URL"] = new_database()
    assert restore.run(settings.current(), "backup").events == 5
    with database.connect(url) as restored:
        restored.execute("INSERT INTO events (event_type, timestamp, raw_event_data) VALUES ('click', now(), '{}')")

    assert run.run(settings.current()).failures == {}
