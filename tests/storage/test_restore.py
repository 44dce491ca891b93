"""A bucket is enough to have the database again: the same events under the same ids, and a ledger that goes on."""

import psycopg
import pytest

from storage import database, events, migrations, settings
from storage.errors import RestoreRefused, SettingsInvalid
from storage.export import expire, restore, run, verify

COLUMNS = "SELECT id, event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent, ip_address, raw_event_data, created_at FROM events ORDER BY id"


@pytest.fixture
def lost(database_url, connection, buckets, many, event, environ):
    """Deliver events, and lose the database; gives what it held, and a connection to the empty one that took its place."""
    made = []

    def lost(formats="parquet", last=lambda: None):
        environ["EXPORT_FORMAT"] = formats
        environ["EXPORT_BATCH_ROWS"] = 400
        many(1000)
        hostile = "a\u2028b\x85c\u00a0 😀 'd' \"e\", \\N\tf"
        events.append(
            connection,
            [
                event(
                    raw_event_data={"data": {"text": hostile + "\r\ng", "n": 1.5, "list": [1, None, {}]}}, url=hostile
                ),
                event(
                    session_id=None,
                    visitor_id=None,
                    site_id=None,
                    url=None,
                    path=None,
                    user_agent=None,
                    ip_address=None,
                ),
                event(url="=SUM(A1)", user_agent="@x", ip_address="2001:db8::"),
            ],
        )
        assert run.run(settings.current()).failures == {}
        last()
        stored = connection.execute(COLUMNS).fetchall()
        base, _, name = database_url.rpartition("/")
        with psycopg.connect(f"{base}/postgres", autocommit=True) as server:
            server.execute(f"CREATE DATABASE {name}_new")
        made.append((f"{base}/postgres", f"{name}_new"))
        environ["DATABASE_URL"] = f"{base}/{name}_new"
        new = database.connect(f"{base}/{name}_new")
        migrations.migrate(new)
        made.append(new)
        return stored, new

    yield lost
    if made:
        made[1].close()
        database.close()
        with psycopg.connect(made[0][0], autocommit=True) as server:
            server.execute(f"DROP DATABASE {made[0][1]} WITH (FORCE)")


@pytest.mark.parametrize("formats", ["parquet", "json", "csv"])
def test_the_backup_bucket_alone_gives_every_event_back_as_it_was(lost, buckets, formats):
    stored, new = lost(formats)
    outcome = restore.run(settings.current(), "backup")
    assert (outcome.events, outcome.unfinished) == (1003, False)
    assert new.execute(COLUMNS).fetchall() == stored
    assert new.execute("SELECT count(exported_at) FROM events_log").fetchone() == (1003,)


def test_the_next_export_goes_on_where_the_last_one_ended(lost, event, delivered):
    _, new = lost()
    restore.run(settings.current(), "backup")
    events.append(new, [event()])
    assert new.execute("SELECT max(id) > 1003 FROM events").fetchone() == (True,)

    outcome = run.run(settings.current())

    assert (outcome.planned, len(outcome.delivered), outcome.failures) == (1, 1, {})
    for side in ("client", "backup"):
        report = verify.run(settings.current(), side)
        assert (report.findings, report.rows) == ([], 1004)
        assert len(delivered(side).rows["parquet"]) == 1004


def test_what_the_other_bucket_lacks_is_delivered_to_it_again(lost, buckets, delivered):
    lost()
    for item in buckets.s3.list_objects_v2(Bucket=buckets.names["client"])["Contents"]:
        buckets.s3.delete_object(Bucket=buckets.names["client"], Key=item["Key"])
    restore.run(settings.current(), "backup")

    assert run.run(settings.current()).failures == {}

    assert len(delivered("client").rows["parquet"]) == 1003
    assert verify.run(settings.current(), "client").findings == []


def test_what_was_interrupted_goes_on_with_what_is_missing(lost):
    stored, new = lost()
    turns = iter([True, False])
    first = restore.run(settings.current(), "backup", has_time=lambda: next(turns))
    assert (first.batches, first.unfinished) == (1, True)
    second = restore.run(settings.current(), "backup")
    assert second.events == 1003 - first.events
    assert new.execute(COLUMNS).fetchall() == stored
    assert restore.run(settings.current(), "backup").batches == 0


def test_an_event_that_a_browser_sent_again_meanwhile_is_there_once(lost, event):
    stored, new = lost()
    turns = iter([True, False])
    restore.run(settings.current(), "backup", has_time=lambda: next(turns))
    events.append(new, [event(event_id=str(stored[-1][1])), event()])
    restore.run(settings.current(), "backup")
    assert new.execute("SELECT count(*) FROM events").fetchone() == (1004,)
    assert new.execute("SELECT id FROM events WHERE event_id = %s", (stored[-1][1],)).fetchone() == (stored[-1][0],)


def test_a_database_with_events_of_its_own_is_left_alone(lost, event):
    _, new = lost()
    events.append(new, [event()])
    with pytest.raises(RestoreRefused, match="events of its own"):
        restore.run(settings.current(), "backup")
    assert new.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_an_object_that_was_altered_stops_the_restore_and_leaves_whole_batches(lost, buckets):
    _, new = lost()
    keys = [
        item["Key"]
        for item in buckets.s3.list_objects_v2(Bucket=buckets.names["backup"], Prefix="analytics/events/")["Contents"]
    ]
    buckets.s3.put_object(Bucket=buckets.names["backup"], Key=keys[1], Body=b"x")
    with pytest.raises(RestoreRefused, match="other bytes"):
        restore.run(settings.current(), "backup")
    assert new.execute("SELECT count(*) FROM events").fetchone() == (400,)


def test_a_bucket_without_manifests_or_a_side_without_a_bucket_is_an_error(buckets, database_url, environ):
    with pytest.raises(RestoreRefused, match="no manifest"):
        restore.run(settings.current(), "backup")
    environ["BACKUP_S3_BUCKET"] = ""
    with pytest.raises(SettingsInvalid, match="BACKUP_S3_BUCKET"):
        restore.run(settings.current(), "backup")


def test_a_bucket_whose_old_objects_were_removed_gives_back_what_it_still_has(lost, buckets, event):
    _, new = lost(last=lambda: expire.run(settings.current(), 0))
    assert restore.run(settings.current(), "backup").events == 0
    events.append(new, [event()])
    assert run.run(settings.current()).failures == {}
    for side in ("client", "backup"):
        assert verify.run(settings.current(), side).findings == []
