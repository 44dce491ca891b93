"""A site's whole history goes to its owner: every event once, those that only a bucket still has included, and nobody's who was erased."""

import datetime as dt
import itertools
import json

import pytest
from pydantic import SecretStr

from storage import buckets as storage_buckets
from storage import discovery, erasures, retention, settings
from storage.destination import Destination
from storage.errors import HandoffInvalid
from storage.export import erase, expire, run, site_handoff

KEY = b"demo-privacy-key"
SITE = "site1.example"


@pytest.fixture
def owner(buckets):
    """A bucket of the owner's, as it is named in what is asked for."""
    client = settings.current().require_destination("client")
    plain = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in client.model_dump(exclude_none=True).items()
        if name in ("endpoint_url", "access_key", "secret_key")
    }
    own = {**plain, "bucket": f"owner-{client.bucket}", "prefix": "history/site"}
    storage_buckets.make(Destination(name="owner", **own))
    return own


@pytest.fixture
def hand_off(connection, buckets, owner, read_bucket):
    def hand_off(**more):
        discovery.discover(connection, settings.current())
        wanted = {"site_id": SITE, "to": {**owner, **more}}
        done = site_handoff.run(settings.current(), wanted)
        return done, read_bucket(buckets.s3, owner["bucket"], wanted["to"]["prefix"])

    return hand_off


@pytest.fixture
def history(connection, buckets, many, environ):
    """Thirty events of the site in each of five hours of months, exported but for the last."""
    environ["EXPORT_FORMAT"] = "json,parquet"
    for days in (320, 290, 260, 230):
        many(90, ago(days))
    assert run.run(settings.current()).failures == {}
    many(90, ago(3))


def ago(days):
    return dt.datetime.now(dt.UTC).replace(minute=15) - dt.timedelta(days=days)


def stored(connection):
    rows = connection.execute(
        "SELECT id, visitor_id, url, raw_event_data::text, created_at FROM events WHERE site_id = %s ORDER BY id",
        (SITE,),
    ).fetchall()
    return [tuple(row) for row in rows]


def found(bucket):
    rows = sorted(bucket.rows["parquet"], key=lambda row: row["id"])
    assert {row["site_id"] for row in rows} == {SITE}
    return [(row["id"], row["visitor_id"], row["url"], row["raw_event_data"], row["created_at"]) for row in rows]


def test_all_of_it_arrives_and_the_site_is_marked(history, connection, hand_off, owner):
    done, bucket = hand_off()
    assert (done["rows"], done["manifests"], done["objects"], done["gone"]) == (150, 5, 10, 0)
    assert found(bucket) == stored(connection)
    assert len(bucket.rows["json"]) == 150
    assert any(key.endswith("/duckdb.sql") for key in bucket.keys)
    marked = connection.execute("SELECT site_id, handed_off_to FROM sites WHERE handed_off_at IS NOT NULL").fetchall()
    assert marked == [(SITE, f"s3://{owner['bucket']}/history/site")]
    [told] = connection.execute("SELECT body::jsonb FROM webhook_messages WHERE type = 'site.handed_off'").fetchall()
    assert (told[0]["data"]["site_id"], told[0]["data"]["events"]) == (SITE, 150)
    assert owner["secret_key"] not in json.dumps(told[0])


@pytest.mark.parametrize("formats", ["json,parquet", "csv", "json"])
def test_what_the_database_has_dropped_comes_from_the_backup_bucket(
    history, connection, hand_off, policy, environ, formats, many
):
    environ["EXPORT_FORMAT"] = formats
    many(90, ago(200))
    assert run.run(settings.current()).failures == {}
    environ["EXPORT_FORMAT"] = "parquet"
    before = stored(connection)
    policy({"events_days": 30})
    assert retention.run(settings.current()).events == 5 * 90
    assert len(stored(connection)) == 30
    done, bucket = hand_off()
    assert (done["rows"], done["gone"]) == (180, 0)
    # Those of three days ago were stored before those of two hundred were.
    assert [row[0] for row in found(bucket)] == [row[0] for row in before]
    assert {row[:3] for row in found(bucket)} == {row[:3] for row in before}
    assert [json.loads(row[3]) for row in found(bucket)] == [json.loads(row[3]) for row in before]
    assert [row[4] for row in found(bucket)] == [row[4] for row in before]


def test_an_hour_of_which_a_part_was_dropped_is_there_once(history, connection, hand_off):
    before = stored(connection)
    connection.execute(
        """
        WITH dropped AS (DELETE FROM events WHERE site_id = %s AND id %% 2 = 0 AND created_at < now() - interval '275 days' RETURNING created_at, id)
        INSERT INTO erased_events (erased_at, hour, site_id, batch_id, events, expired)
        SELECT now(), date_trunc('hour', created_at, 'UTC'), %s,
               (SELECT batch_id FROM export_batches b WHERE b.from_id < max(dropped.id) AND b.to_id >= max(dropped.id)), count(*), true
          FROM dropped GROUP BY date_trunc('hour', created_at, 'UTC')
        """,
        (SITE, SITE),
    )
    assert len(stored(connection)) == len(before) - 30
    done, bucket = hand_off()
    assert done["rows"] == 150
    assert found(bucket) == before


def test_who_was_erased_is_in_none_of_it_and_a_receipt_says_who_has_the_rest(history, connection, hand_off, policy):
    policy({"events_days": 30})
    retention.run(settings.current())
    # The buckets still hold him: the erasure is pending.
    erasures.erase(connection, KEY, "visitor-7")
    _, bucket = hand_off()
    assert "visitor-7" not in {row[1] for row in found(bucket)}
    assert len(found(bucket)) == 150 - 4 - 1
    erasures.erase(connection, KEY, "visitor-10")
    assert erase.run(settings.current()).completed == 2
    receipts = [row[0] for row in connection.execute("SELECT receipt FROM erasures ORDER BY requested_at").fetchall()]
    assert any(SITE in line for line in receipts[1]["not_covered"])


def test_what_nobody_has_any_more_is_counted(history, connection, hand_off, policy):
    policy({"events_days": 30})
    retention.run(settings.current())
    expire.run(settings.current(), 250)
    done, bucket = hand_off()
    assert (done["rows"], done["gone"]) == (60, 90)
    assert len(found(bucket)) == 60


def test_where_time_runs_out_it_goes_on_with_the_next_hour(history, connection, owner, read_bucket, buckets):
    discovery.discover(connection, settings.current())
    wanted, progress, turns = {"site_id": SITE, "to": owner}, None, 0
    while progress is None or progress["unfinished"]:
        left = itertools.count(-2)
        progress = site_handoff.run(settings.current(), wanted, progress, lambda left=left: next(left) < 0)
        turns += 1
    assert (turns, progress["rows"], progress["manifests"]) == (3, 150, 5)
    assert found(read_bucket(buckets.s3, owner["bucket"], "history/site")) == stored(connection)


def test_a_place_that_is_not_empty_and_a_site_that_was_not_seen_are_refused(history, connection, hand_off, owner):
    hand_off()
    with pytest.raises(HandoffInvalid, match=r"there is something below s3://owner-\S+/history/site/ already"):
        hand_off()
    assert hand_off(prefix="history/again")[0]["rows"] == 150
    for wanted, said in [
        ({"site_id": "nobody.example", "to": {**owner, "prefix": "x"}}, "no event of 'nobody.example' was seen"),
        ({"site_id": SITE, "to": {**owner, "bucket": "No"}}, "is not a bucket name"),
        ({"site_id": SITE}, "TO"),
    ]:
        with pytest.raises(HandoffInvalid, match=said):
            site_handoff.run(settings.current(), wanted)
