"""A hand-off: a range of time, or one site of it, as files of their own, without touching the regular stream."""

import datetime as dt
import gzip
import itertools
import subprocess
import sys

import pytest

from storage import database, erasures, events, handoffs, objects, settings
from storage.errors import ExportRunning, HandoffInvalid
from storage.export import erase, expire, handoff, run, verify

KEY = b"demo-privacy-key"
ERASE = "from storage import settings; from storage.export import erase; print(erase.run(settings.current()).completed)"
DAY = {"from_time": "2026-11-23T00:00:00Z", "to_time": "2026-11-24T00:00:00Z"}


@pytest.fixture
def hand_off(connection, buckets, environ, read_bucket):
    """Hand off what is wanted, and read it back where it lies."""
    environ["EXPORT_FORMAT"] = "parquet"

    def hand_off(**wanted):
        done = handoff.run(settings.current(), {**DAY, **wanted})
        side = wanted.get("destination", "client")
        return done, read_bucket(buckets.s3, buckets.names[side], done["prefix"])

    return hand_off


def test_one_sites_events_of_a_range_lie_apart(connection, many, hand_off):
    many(90, "2026-11-22 23:59:59.999999+00")
    many(60, "2026-11-23 00:00:00+00")
    many(30, "2026-11-23 10:15:00+00")
    many(30, "2026-11-24 00:00:00+00")

    done, found = hand_off(site_id="site1.example")

    assert (done["rows"], done["manifests"], done["objects"], done["unfinished"]) == (30, 2, 2, False)
    assert {row["site_id"] for row in found.rows["parquet"]} == {"site1.example"}
    assert (
        sorted(row["id"] for row in found.rows["parquet"])
        == [n for n in range(91, 181) if (n - 90) % 3 == 1 or (n > 150 and (n - 150) % 3 == 1)][:30]
    )
    assert [manifest["window"]["start"] for manifest in found.manifests] == [
        "2026-11-23T00:00:00Z",
        "2026-11-23T10:00:00Z",
    ]


def test_the_regular_stream_stays_as_it_is(connection, many, hand_off):
    many(30)
    assert run.run(settings.current()).failures == {}
    before = connection.execute("SELECT * FROM export_deliveries").fetchall()

    hand_off(formats=["csv", "json"], destination="backup")

    assert connection.execute("SELECT * FROM export_deliveries").fetchall() == before
    for side in ("client", "backup"):
        assert verify.run(settings.current(), side).findings == []


def test_asked_for_again_it_is_there_once(connection, many, hand_off):
    many(30)
    first, _ = hand_off(formats=["csv"])
    again, found = hand_off(formats=["json"])
    assert first["prefix"] == again["prefix"]
    assert set(found.rows) == {"json"}
    assert connection.execute("SELECT count(*), count(ended_at) FROM handoffs").fetchone() == (1, 1)


def test_where_time_runs_out_it_goes_on_with_the_next_hour(connection, buckets, many, read_bucket):
    for hour in (3, 9, 15):
        many(10, f"2026-11-23 {hour:02}:30:00+00")
    progress, turns = None, 0
    while progress is None or progress["unfinished"]:
        left = itertools.count(-5)
        progress = handoff.run(settings.current(), DAY, progress, lambda left=left: next(left) < 0)
        turns += 1
    assert turns > 3
    found = read_bucket(buckets.s3, buckets.names["client"], progress["prefix"])
    assert sorted(row["id"] for row in found.rows["parquet"]) == list(range(1, 31))


def test_another_hand_off_of_the_same_between_two_turns_is_not_mixed_with_it(connection, buckets, many):
    for hour in (3, 9):
        many(10, f"2026-11-23 {hour:02}:30:00+00")
    left = itertools.count(-9)
    progress = handoff.run(settings.current(), DAY, None, lambda: next(left) < 0)
    assert progress["unfinished"]
    handoff.run(settings.current(), {**DAY, "formats": ["csv"]})
    with pytest.raises(HandoffInvalid, match="begin it anew"):
        handoff.run(settings.current(), DAY, progress)


def test_a_format_that_is_named_twice_is_written_once(connection, many, hand_off):
    many(30)
    done, found = hand_off(formats=["csv", "csv"])
    assert (done["rows"], len(found.rows["csv"])) == (30, 30)


def test_it_brings_its_own_contract(connection, many, hand_off, environ):
    environ["EXPORT_TRANSFORMS"] = '{"drop": ["user_agent"]}'
    many(30)
    hand_off()
    done, found = hand_off()
    assert f"{done['prefix']}/schema/{found.manifests[0]['schema']}/columns.json" in found.keys


def test_where_no_event_arrived_nothing_is_written(connection, many, hand_off):
    many(3)
    done, found = hand_off(site_id="mistyped.example")
    assert (done["rows"], done["unfinished"], found.keys) == (0, False, [])


def test_the_clients_filters_hold_in_its_bucket_and_not_in_the_other(connection, event, environ, hand_off):
    environ["EXPORT_FILTERS"] = '{"event_types": ["click"]}'
    events.append(connection, [event(), event(event_type="click")])
    connection.execute("UPDATE events SET created_at = created_at - interval '1 minute'")
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    wanted = {"from_time": (now - dt.timedelta(hours=1)).isoformat(), "to_time": now.isoformat()}
    assert hand_off(**wanted)[0]["rows"] == 1
    assert hand_off(**wanted, destination="backup")[0]["rows"] == 2


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"to_time": "2026-11-22T00:00:00Z"}, "begin before it ends"),
        ({"to_time": "2999-01-01T00:00:00Z"}, "end in the past; the latest end is 20"),
        ({"from_time": "2026-11-23T00:00:00"}, "with its zone"),
        ({"from_time": "yesterday"}, "FROM_TIME"),
        ({"from_time": "2026-11-23T00:00:00.5Z"}, "whole seconds"),
        ({"from_time": "0001-01-01T00:00:00+05:45"}, "FROM_TIME"),
        ({"site_id": ""}, "SITE_ID"),
        ({"site_id": "a\0b"}, "SITE_ID"),
        ({"site_id": "ü" * 200}, "SITE_ID"),
        ({"destination": "other"}, "DESTINATION"),
        ({"formats": ["xml"]}, "FORMATS"),
    ],
)
def test_what_cannot_be_handed_off_is_named(connection, buckets, hand_off, wanted, said):
    with pytest.raises(HandoffInvalid, match=said):
        hand_off(**wanted)


def test_two_at_once_are_told_apart(connection, buckets, hand_off, database_url):
    with handoff.claim(connection), pytest.raises(ExportRunning, match="hand-off is under way"):
        hand_off()


@pytest.fixture
def taken_out(connection, buckets):
    """Erase a visitor and look through every version of every object of both buckets."""

    def taken_out(visitor_id="visitor-42"):
        begun = erasures.erase(connection, KEY, visitor_id)
        erase.run(settings.current())
        told = erasures.progress(connection, begun["erasure_id"])
        assert told["state"] == "completed", told
        for name in buckets.names.values():
            for page in buckets.s3.get_paginator("list_object_versions").paginate(Bucket=name):
                assert not [item for item in page.get("DeleteMarkers", []) if "/events/" in item["Key"]]
                for item in page.get("Versions", []):
                    body = buckets.s3.get_object(Bucket=name, Key=item["Key"], VersionId=item["VersionId"])[
                        "Body"
                    ].read()
                    text = gzip.decompress(body) if item["Key"].endswith(".gz") else body
                    assert visitor_id.encode() not in text, item["Key"]
        return told["receipt"]

    return taken_out


@pytest.mark.parametrize("formats", [["parquet"], ["csv", "json"]])
def test_an_erasure_takes_the_visitor_out_of_what_was_handed_off(
    connection, read_bucket, buckets, many, hand_off, taken_out, formats
):
    many(300)
    many(300, "2026-11-23 12:15:00+00")
    run.run(settings.current())
    done, before = hand_off(formats=formats, destination="backup")
    assert before.manifests[1]["rows"] == 300

    receipt = taken_out()

    [told] = receipt["handoffs"]
    assert (told["prefix"], told["rows_removed"]) == (done["prefix"], 6)
    assert len(told["objects"]) == 2 * len(formats)
    after = read_bucket(buckets.s3, buckets.names["backup"], done["prefix"])
    assert [manifest["rows"] for manifest in after.manifests] == [297, 297]
    assert sum(after.manifests[0]["sites"].values()) == 297
    assert after.manifests[1]["previous_sha256"] == after.manifests[0]["revisions"][-1]["sha256"]
    for rows in after.rows.values():
        assert sorted(int(row["id"]) for row in rows) == [n for n in range(1, 601) if n % 100 != 42]


def test_older_versions_of_a_hand_off_go_too_those_of_an_earlier_one_as_well(
    connection, buckets, many, hand_off, taken_out
):
    for name in buckets.names.values():
        buckets.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    many(300)
    hand_off(formats=["json"])
    hand_off(formats=["csv"])
    taken_out()


def test_a_hand_off_without_the_visitor_is_not_opened(connection, buckets, many, hand_off, taken_out, monkeypatch):
    many(300)
    hand_off(site_id="site1.example")
    many(1, "2026-11-20 10:00:00+00")
    connection.execute("UPDATE events SET visitor_id = 'visitor-lonely' WHERE id = 301")
    opened = []
    monkeypatch.setattr(erase, "rewrite", lambda *arguments: opened.append(arguments))
    assert taken_out("visitor-lonely")["handoffs"] == []
    assert opened == []


def test_a_hand_off_that_hides_ids_loses_the_rows_all_the_same(
    connection, read_bucket, buckets, many, environ, hand_off
):
    environ["EXPORT_TRANSFORMS"] = '{"drop": ["visitor_id"]}'
    many(300)
    done, _ = hand_off()
    begun = erasures.erase(connection, KEY, "visitor-42")
    erase.run(settings.current())
    assert erasures.progress(connection, begun["erasure_id"])["receipt"]["handoffs"][0]["rows_removed"] == 3
    assert 42 not in {
        row["id"] for row in read_bucket(buckets.s3, buckets.names["client"], done["prefix"]).rows["parquet"]
    }


def test_while_a_hand_off_is_under_way_the_erasure_waits_for_it(connection, buckets, many, hand_off, database_url):
    many(300)
    hand_off()
    begun = erasures.erase(connection, KEY, "visitor-42")
    with database.connect(database_url) as other, handoff.claim(other):
        erase.run(settings.current())
    told = erasures.progress(connection, begun["erasure_id"])
    assert (told["state"], "hand-off is under way" in told["reason"]) == ("pending", True)
    erase.run(settings.current())
    assert erasures.progress(connection, begun["erasure_id"])["state"] == "completed"


@pytest.mark.parametrize("point", ["with an object written", "before the record"])
def test_whoever_is_killed_in_a_hand_off_leaves_what_the_next_run_ends_the_same(
    connection, read_bucket, buckets, many, hand_off, taken_out, monkeypatch, point
):
    many(300)
    done, _ = hand_off(formats=["json", "csv"])
    erasures.erase(connection, KEY, "visitor-42")
    with monkeypatch.context() as patch:
        module, name = (objects, "replace") if point == "with an object written" else (handoffs, "done")
        real = getattr(module, name)

        def die(*arguments, **options):
            if point == "with an object written":
                real(*arguments, **options)
            raise KeyboardInterrupt

        patch.setattr(module, name, die)
        with pytest.raises(KeyboardInterrupt):
            erase.run(settings.current())

    erase.run(settings.current())
    [(receipt,)] = connection.execute("SELECT receipt FROM erasures").fetchall()
    assert [(one["rows_removed"], len(one["objects"])) for one in receipt["handoffs"]] == [(3, 2)]
    assert taken_out()["handoffs"] == []
    assert [
        manifest["rows"] for manifest in read_bucket(buckets.s3, buckets.names["client"], done["prefix"]).manifests
    ] == [297]


def test_a_hand_off_goes_as_a_whole_once_its_events_are_too_old(connection, buckets, many, hand_off):
    for name in buckets.names.values():
        buckets.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    many(300)
    hand_off()
    assert expire.run(settings.current(), 10_000) == (0, [])
    assert expire.run(settings.current(), 0) == (1, [])
    listed = buckets.s3.list_object_versions(Bucket=buckets.names["client"], Prefix="analytics/handoffs/")
    assert "Versions" not in listed
    assert "DeleteMarkers" not in listed
    assert connection.execute("SELECT count(*) FROM handoffs").fetchone() == (0,)


def test_an_erasure_between_the_reading_and_the_writing_of_a_hand_off_waits_for_it(
    connection, read_bucket, buckets, many, hand_off, database_url, monkeypatch
):
    many(300)
    real, begun = handoffs.keep_index, []

    def keep_index(*arguments):
        with database.connect(database_url) as other:
            begun.append(erasures.erase(other, KEY, "visitor-42")["erasure_id"])
        ran = subprocess.run([sys.executable, "-c", ERASE], capture_output=True, check=True)
        assert ran.stdout == b"0\n"
        real(*arguments)

    monkeypatch.setattr(handoffs, "keep_index", keep_index)
    done, _ = hand_off(formats=["json"])
    assert erase.run(settings.current()).completed == 1
    found = read_bucket(buckets.s3, buckets.names["client"], done["prefix"])
    assert "visitor-42" not in {row["visitor_id"] for row in found.rows["json"]}
    assert erasures.progress(connection, begun[0])["receipt"]["handoffs"][0]["rows_removed"] == 3


@pytest.mark.parametrize("index", ["{}", None])
def test_versions_of_what_lay_there_before_a_hand_off_was_made_again_go_too(
    connection, buckets, many, hand_off, taken_out, index
):
    for name in buckets.names.values():
        buckets.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    many(300)
    hand_off(formats=["json"])
    if index is None:
        connection.execute("UPDATE handoffs SET visitor_hashes = NULL")
    erasures.erase(connection, KEY, "visitor-42")
    hand_off(formats=["json"])
    taken_out()


@pytest.mark.parametrize("visitor_id", ["visitor-42", "visitor-nobody"])
def test_a_hand_off_of_an_earlier_release_is_gone_through_by_what_its_manifests_tell(
    connection, buckets, many, hand_off, taken_out, visitor_id
):
    many(300)
    hand_off(formats=["csv"])
    connection.execute("UPDATE handoffs SET visitor_hashes = NULL, formats = '{}', layout = '{}'")
    [told] = taken_out(visitor_id)["handoffs"]
    assert told["rows_removed"] == (3 if visitor_id == "visitor-42" else 0)
