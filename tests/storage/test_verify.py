"""Proof that a bucket holds every event once; and whatever is not as it should be is named."""

import json

import pytest

from storage import database, ledger, settings
from storage.errors import RedeliveryRefused
from storage.export import run, verify


@pytest.fixture
def bucket(connection, buckets, many, environ):
    """Three batches in every format, and what one may do to the client's bucket."""
    environ["EXPORT_FORMAT"] = "json,csv,parquet"
    for _ in range(3):
        many(50)
        run.run(settings.current())
    name = buckets.names["client"]

    class Bucket:
        def keys(self, part):
            listed = buckets.s3.list_objects_v2(Bucket=name)["Contents"]
            return sorted(item["Key"] for item in listed if part in item["Key"])

        def get(self, key):
            return buckets.s3.get_object(Bucket=name, Key=key)["Body"].read()

        def put(self, key, body):
            buckets.s3.put_object(Bucket=name, Key=key, Body=body)

        def delete(self, key):
            buckets.s3.delete_object(Bucket=name, Key=key)

        def change(self, key, **values):
            self.put(key, json.dumps({**json.loads(self.get(key)), **values}).encode())

    return Bucket()


def problems(side="client"):
    return [
        (finding.key.rpartition(".")[2], finding.problem) for finding in verify.run(settings.current(), side).findings
    ]


@pytest.mark.parametrize("side", ["client", "backup"])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_bucket_that_has_everything_is_proven_to(bucket, many, environ, side, compression):
    environ["EXPORT_COMPRESSION"] = compression
    many(50)
    run.run(settings.current())
    report = verify.run(settings.current(), side)
    assert report.findings == []
    assert (report.manifests, report.objects, report.rows) == (4, 12, 200)


def test_a_side_without_a_bucket_is_an_error(bucket, environ):
    environ["BACKUP_S3_BUCKET"] = ""
    with pytest.raises(settings.SettingsInvalid, match="BACKUP_S3_BUCKET is not set"):
        verify.run(settings.current(), "backup")


def test_what_is_under_way_is_no_finding(bucket, connection, many):
    many(50)
    with database.connect(settings.current().require_database()) as planner, ledger.claim(planner):
        ledger.plan(planner, ["client", "backup"], ["json"], 100)
    assert problems() == []


def test_an_object_that_is_gone_is_named_with_the_batch_to_deliver_again(bucket):
    key = bucket.keys(".csv.gz")[1]
    bucket.delete(key)
    report = verify.run(settings.current(), "client")
    assert [(finding.key, finding.problem) for finding in report.findings] == [(key, "is missing")]
    assert report.as_dict()["deliver_again"] == [key.rpartition("/")[2].partition(".")[0]]


def test_an_object_with_other_bytes_is_named(bucket):
    first, second, _ = bucket.keys(".parquet")
    bucket.put(first, bucket.get(second))
    [(ending, problem)] = problems()
    assert ending == "parquet"
    assert problem.startswith("holds other bytes")


def test_a_manifest_that_is_gone_is_named_by_the_next_and_by_the_ledger(bucket):
    bucket.delete(bucket.keys("/manifests/")[1])
    assert ("json", "the manifest in place 2, before this one, is missing") in problems()
    assert ("json", "is missing, though the ledger says that it was delivered") in problems()
    assert ("json", "the ids after 50 up to 100 are in no manifest") in problems()


def test_a_manifest_that_was_altered_is_named_by_the_next_and_by_the_ledger(bucket):
    bucket.change(bucket.keys("/manifests/")[0], note="a word")
    assert [problem for _, problem in problems()] == [
        "names another manifest in place 1 than the one that lies there: that one was altered",
        "is not the manifest that was delivered",
    ]


def test_a_manifest_that_cannot_be_read_is_named(bucket):
    bucket.put(bucket.keys("/manifests/")[2], b"{")
    assert ("json", "is no manifest that can be read") in problems()


def test_rows_that_the_database_has_and_the_bucket_does_not_are_named(bucket, connection):
    connection.execute("DELETE FROM events WHERE id = 70")
    assert all(
        problem == "its json objects hold 50 rows, and the database has 49, or others" for _, problem in problems()[:1]
    )
    assert len(problems()) == 3


def test_an_object_of_no_manifest_is_named(bucket):
    key = bucket.keys(".parquet")[0].replace("-", "_").replace(".parquet", "-copy.parquet")
    bucket.put(key, b"x")
    assert problems() == [("parquet", "no manifest names it; a reader of the folder sees its rows twice")]


def test_what_is_missing_is_delivered_again_when_asked_and_then_every_event_is_there_once(bucket):
    bucket.delete(bucket.keys(".parquet")[0])
    again = verify.run(settings.current(), "client").as_dict()["deliver_again"]
    assert len(again) == 1

    run.reopen(settings.current(), "client", again)
    run.run(settings.current())

    assert problems() == []
    assert problems("backup") == []


def test_other_bytes_than_ours_are_not_written_over_when_a_batch_is_delivered_again(bucket):
    key = bucket.keys(".parquet")[0]
    bucket.put(key, b"somebody else's")
    again = verify.run(settings.current(), "client").as_dict()["deliver_again"]
    run.reopen(settings.current(), "client", again)
    assert "look whose it is, and remove it" in run.run(settings.current()).failures["client"]
    assert bucket.get(key) == b"somebody else's"

    bucket.delete(key)
    run.run(settings.current())
    assert problems() == []


def test_none_is_delivered_again_where_one_of_them_was_never_there(bucket, connection):
    known = connection.execute("SELECT batch_id FROM export_batches LIMIT 1").fetchone()[0]
    with pytest.raises(RedeliveryRefused, match="no batch of-nobody was delivered to the client bucket"):
        run.reopen(settings.current(), "client", [known, "of-nobody"])
    assert run.run(settings.current()).delivered == []
