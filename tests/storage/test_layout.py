"""How a batch becomes objects: their sizes, their compression, their partitions; and what an attempt leaves behind."""

import re

import pytest

from storage import database, events, ledger, settings
from storage.errors import DeliveryFailed
from storage.export import deliver, run, verify


def export():
    outcome = run.run(settings.current())
    assert outcome.failures == {}
    return outcome


def ids(rows):
    return sorted(int(row["id"]) for row in rows)


def test_an_object_ends_at_its_size_and_the_next_begins(connection, buckets, delivered, many, environ):
    environ["EXPORT_FORMAT"] = "json,csv"
    environ["EXPORT_COMPRESSION"] = "none"
    environ["EXPORT_OBJECT_MIB"] = 1
    # PostgreSQL hands over four megabytes at a time, and an object ends between two of them.
    many(40_000)

    export()

    for side in ("client", "backup"):
        found = delivered(side)
        [manifest] = found.manifests
        for rows in found.rows.values():
            assert ids(rows) == list(range(1, 40_001))
        keys = [item["key"] for item in manifest["objects"] if item["format"] == "json"]
        assert len(keys) > 2
        batch_id = manifest["batch_id"]
        names = [f"{batch_id}{number}.jsonl" for number in ["", *(f"-{n:04}" for n in range(2, len(keys) + 1))]]
        assert [key.rpartition("/")[2] for key in keys] == names
        assert sum(item["rows"] for item in manifest["objects"]) == 2 * manifest["rows"] == 80_000


@pytest.mark.parametrize(
    ("compression", "endings"),
    [
        ("gzip", {"jsonl.gz", "csv.gz", "parquet"}),
        ("zstd", {"jsonl.zst", "csv.zst", "parquet"}),
        ("none", {"jsonl", "csv", "parquet"}),
    ],
)
def test_every_format_has_every_compression(connection, buckets, delivered, many, environ, compression, endings):
    environ["EXPORT_FORMAT"] = "json,csv,parquet"
    environ["EXPORT_COMPRESSION"] = compression
    many(100)

    export()

    found = delivered("client")
    assert all(ids(rows) == list(range(1, 101)) for rows in found.rows.values())
    assert {item["key"].rpartition("/")[2].partition(".")[2] for item in found.manifests[0]["objects"]} == endings


def test_every_row_lies_in_the_partition_of_its_own_site(connection, buckets, delivered, event, environ):
    environ["EXPORT_PARTITION_BY"] = "site_id"
    sites = ["a.example", "b.example", None, "odd site/..=x:[::1]", "a.example", "b.example"]
    events.append(connection, [event(site_id=site) for site in sites])

    export()

    [manifest] = delivered("client").manifests
    by_partition = {re.search(r"/site_id=([^/]*)/date=", item["key"])[1]: item["sites"] for item in manifest["objects"]}
    assert by_partition == {
        "a.example": {"a.example": 2},
        "b.example": {"b.example": 2},
        "odd%20site%2F..%3Dx%3A%5B%3A%3A1%5D": {"odd site/..=x:[::1]": 1},
        "__HIVE_DEFAULT_PARTITION__": {"": 1},
    }
    assert manifest["sites"] == {"": 1, "a.example": 2, "b.example": 2, "odd site/..=x:[::1]": 1}


@pytest.mark.parametrize("partition_by", ["", "site_id"])
def test_a_site_whose_name_is_empty_counts_as_none(connection, buckets, delivered, event, environ, partition_by):
    environ["EXPORT_PARTITION_BY"] = partition_by
    for site in ("", None, "a.example", None, ""):
        # As somebody writes it who does so by hand.
        events.append(connection, [event(site_id="b.example")])
        connection.execute("UPDATE events SET site_id = %s WHERE id = (SELECT max(id) FROM events)", (site,))

    export()

    for side in ("client", "backup"):
        [manifest] = delivered(side).manifests
        assert manifest["sites"] == {"": 4, "a.example": 1}
        assert len(manifest["objects"]) == (2 if partition_by else 1)
        assert sum(item["rows"] for item in manifest["objects"]) == 5
        assert verify.run(settings.current(), side).findings == []


def test_a_batch_becomes_what_was_asked_for_when_it_was_planned(connection, buckets, delivered, many, environ):
    many(10)
    with database.connect(settings.current().require_database()) as planner, ledger.claim(planner):
        ledger.plan(planner, ["client", "backup"], ["json"], 100, {"compression": "none"})
    environ["EXPORT_FORMAT"] = "csv"
    environ["EXPORT_COMPRESSION"] = "gzip"

    export()

    assert [key.rpartition(".")[2] for key in delivered("client").keys if "/events/" in key] == ["jsonl"]


def test_what_an_attempt_wrote_and_the_next_does_not_is_removed(
    connection, buckets, delivered, many, environ, monkeypatch
):
    environ["EXPORT_FORMAT"] = "json"
    environ["EXPORT_COMPRESSION"] = "none"
    environ["EXPORT_OBJECT_MIB"] = 1
    many(40_000)

    def refuse(*arguments):
        raise DeliveryFailed("no manifest today")

    with monkeypatch.context() as bucket:
        bucket.setattr(deliver, "put_manifest", refuse)
        assert set(run.run(settings.current()).failures) == {"client", "backup"}
    connection.execute("DELETE FROM events WHERE id > 100")

    export()

    for side in ("client", "backup"):
        found = delivered(side)
        assert ids(found.rows["json"]) == list(range(1, 101))
        assert len(found.manifests[0]["objects"]) == 1
