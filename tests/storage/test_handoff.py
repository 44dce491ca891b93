"""A hand-off: a range of time, or one site of it, as files of their own, without touching the regular stream."""

import datetime as dt
import itertools

import pytest

from storage import events, settings
from storage.errors import ExportRunning, HandoffInvalid
from storage.export import handoff, run, verify

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
        ({"to_time": "2999-01-01T00:00:00Z"}, "end in the past"),
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
    with handoff._claim(connection), pytest.raises(ExportRunning, match="hand-off is under way"):
        hand_off()
