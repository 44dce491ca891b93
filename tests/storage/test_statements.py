"""The usage of a month, stated, signed, told of once, and found again in PostgreSQL and in both buckets, to the event."""

import csv
import datetime as dt
import hashlib
import io
import json
import random
from collections import Counter

import pytest
from cryptography.exceptions import InvalidSignature

from storage import database, discovery, erasures, events, metering, objects, settings, usage
from storage.errors import StatementMissing
from storage.export import erase, expire, receipts, reconcile, restore, run, statements

KEY = b"demo-privacy-key"
OCTOBER, NOVEMBER = dt.date(2026, 10, 1), dt.date(2026, 11, 1)
SITES = ["shop.example.com", "blog.example.org", "xn--bcher-kva.example", "localhost", None]
TYPES = ["page_view", "click", "purchase", "scroll"]


@pytest.fixture
def days():
    """The days after the end of September that have traffic."""
    return (0, 1, 7, 31, 32)


@pytest.fixture
def month(connection, buckets, environ, days):
    """Traffic of five sites in October and on the days before and after it; all of it arrived, none exported."""
    environ["SITES"] = json.dumps({"shop.example.com": {"group": "acme"}, "blog.example.org": {"group": "acme"}})
    environ["EXPORT_FORMAT"] = "parquet,json"
    content = random.Random(10)
    begins = dt.datetime(2026, 9, 30, tzinfo=dt.UTC)
    times = [
        begins + dt.timedelta(days=day, hours=hour, seconds=content.randrange(3600))
        for day in days
        for hour in (0, 9, 23)
        for _ in range(content.randrange(20, 60))
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO events (event_type, visitor_id, session_id, site_id, timestamp, raw_event_data, created_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    content.choice(TYPES),
                    f"visitor-{content.randrange(400)}",
                    f"session-{content.randrange(900)}",
                    content.choices(SITES, [9, 5, 3, 1, 1])[0],
                    when,
                    json.dumps(
                        {"text": "ä€😀"[: content.randrange(4)], **({"_bot": ["ai"]} if content.random() < 0.1 else {})}
                    ),
                    when,
                )
                for when in sorted(times)
            ],
        )
    discovery.discover(connection, settings.current())


@pytest.fixture
def export():
    def export():
        outcome = run.run(settings.current())
        assert outcome.failures == {}
        return outcome

    return export


def recounted(rows):
    """Events and bytes of October by day and site, as anybody counts them who has the rows."""
    events, held = Counter(), Counter()
    for row in rows:
        arrived = row["created_at"]
        day = str(arrived)[:10]
        if day.startswith("2026-10"):
            events[day, row["site_id"] or ""] += 1
            held[day, row["site_id"] or ""] += len(row["raw_event_data"].encode())
    return events, held


@pytest.mark.parametrize("days", [range(33)])
def test_the_usage_of_a_month_is_what_postgresql_and_both_buckets_hold(month, export, connection, delivered):
    export()
    statement = statements.fetch(settings.current(), "2026-10")
    stated = {(line["day"], line["site_id"]): line for line in statement["lines"]}
    events = Counter({key: line["events"] for key, line in stated.items()})
    held = Counter({key: line["bytes"] for key, line in stated.items()})
    assert statement["totals"]["events"] == sum(events.values()) > 3000

    cursor = connection.execute("SELECT created_at, site_id, raw_event_data::text AS raw_event_data FROM events")
    names = [column.name for column in cursor.description]
    assert recounted(dict(zip(names, row, strict=True)) for row in cursor) == (events, held)
    for side in ("client", "backup"):
        assert recounted(delivered(side).rows["parquet"]) == (events, held)
        assert Counter({key: line["delivered"][side]["events"] for key, line in stated.items()}) == events
        told = reconcile.run(settings.current(), "2026-10", side)
        assert (told.differing, told.events, told.manifests) == ([], sum(events.values()), 31 * 3)
    assert metering.recount(connection) == []
    whom = {site["site_id"]: site for site in statement["sites"]}
    assert {name: (site["group"], site["billed"]) for name, site in whom.items()} == {
        "shop.example.com": ("acme", True), "blog.example.org": ("acme", True),
        "xn--bcher-kva.example": (None, False), "localhost": (None, False), "": (None, False),
    }  # fmt: skip
    visitors = {row[0]: row[1] for row in connection.execute(
        """
        SELECT site_id, count(DISTINCT visitor_id) FROM events
         WHERE created_at >= '2026-10-01' AND created_at < '2026-11-01' AND NOT raw_event_data ? '_bot' GROUP BY 1
        """
    )}  # fmt: skip
    for name in ("shop.example.com", "blog.example.org"):
        assert abs(whom[name]["visitors"] / visitors[name] - 1) < 0.02


def test_it_is_made_once_the_month_is_over_and_told_of_with_it(month, export, connection, buckets):
    export()
    export()
    told = connection.execute(
        "SELECT type, body::jsonb -> 'data' FROM webhook_messages WHERE type = 'usage.reported'"
    ).fetchall()
    # November is not over; September is.
    assert [data["month"] for _, data in told] == ["2026-09", "2026-10"]
    backup = settings.current().require_destination("backup")
    text, _ = objects.fetch(backup, told[1][1]["key"])
    assert hashlib.sha256(text).hexdigest() == told[1][1]["sha256"]
    assert json.loads(text)["totals"] == told[1][1]["totals"]
    assert list(objects.keys(settings.current().require_destination("client"), "analytics/usage/")) == []


def test_it_waits_for_a_bucket_that_lacks_something_and_for_what_is_not_metered(month, export, connection, fault):
    fault("client", "PutObject", (403, "AccessDenied"))
    assert "client" in run.run(settings.current()).failures
    fault.lift()
    with pytest.raises(StatementMissing, match="once the month is over and all of it is delivered"):
        statements.fetch(settings.current(), "2026-10")
    connection.execute("UPDATE discovery_mark SET discovered_to_id = 5")
    export()
    with pytest.raises(StatementMissing):
        statements.fetch(settings.current(), "2026-10")


def test_it_is_signed_and_the_table_beside_it_has_the_same_lines(month, export):
    export()
    statement = statements.fetch(settings.current(), "2026-10")
    receipts.verify(statement, receipts.sign(KEY, {})["public_key"])
    with pytest.raises(InvalidSignature):
        receipts.verify({**statement, "to": "2026-12-01"}, receipts.sign(KEY, {})["public_key"])
    table, _ = objects.fetch(settings.current().require_destination("backup"), "analytics/usage/2026-10.csv")
    assert hashlib.sha256(table).hexdigest() == statement["csv_sha256"]
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert len(rows) == len(statement["lines"])
    for row, line in zip(rows, statement["lines"], strict=True):
        assert (row["day"], row["site_id"], int(row["events"])) == (line["day"], line["site_id"], line["events"])
        assert int(row["backup_bytes"]) == line["delivered"]["backup"]["bytes"]
        assert row["billed"] == str(line["billed"]).lower()


def test_it_holds_when_a_visitor_goes_and_when_objects_grow_too_old(month, export, connection):
    export()
    erasures.erase(connection, KEY, "visitor-7")
    assert erase.run(settings.current()).completed == 1
    for side in ("client", "backup"):
        assert reconcile.run(settings.current(), "2026-10", side).differing == []
    assert (
        usage.total(usage.lines(connection, OCTOBER, NOVEMBER))
        == statements.fetch(settings.current(), "2026-10")["totals"]
    )
    expire.run(settings.current(), 40)
    for side in ("client", "backup"):
        assert reconcile.run(settings.current(), "2026-10", side).differing == []


def test_whatever_is_altered_is_named(month, export):
    export()
    current = settings.current()
    backup = current.require_destination("backup")
    key = next(key for key in objects.keys(backup, "analytics/manifests/date=2026-10-07"))
    manifest = json.loads(objects.fetch(backup, key)[0])
    site_id = next(iter(manifest["objects"][0]["sites"]))
    manifest["objects"][0]["sites"][site_id] -= 1
    manifest["objects"][0]["rows"] -= 1
    _overwrite(backup, key, json.dumps(manifest).encode())
    [differing] = [one for one in reconcile.run(current, "2026-10", "backup").differing if one["what"] == "events"]
    assert (differing["day"], differing["site_id"]) == ("2026-10-07", site_id)
    assert differing["stated"] == differing["found"] + 1

    statement = statements.fetch(current, "2026-10")
    _overwrite(backup, "analytics/usage/2026-10.json", json.dumps({**statement, "to": "2026-12-01"}).encode())
    for look in (statements.fetch, lambda *what: reconcile.run(*what, "backup")):
        with pytest.raises(StatementMissing, match="not as this installation signed it"):
            look(current, "2026-10")
    for nonsense in ("2026-13", "lastmonth", "2026-1"):
        with pytest.raises(StatementMissing, match="is no month such as"):
            statements.fetch(current, nonsense)


def test_it_is_the_operators_and_no_groups(month, environ, export, connection):
    client = settings.current().require_destination("client")
    environ["BACKUP_S3_BUCKET"] = ""
    group = {"bucket": client.bucket, "prefix": "acme", "access_key": "test", "secret_key": "test"}
    environ["SITE_GROUPS"] = json.dumps({"acme": {"export": group}})
    export()
    assert connection.execute(
        "SELECT DISTINCT bucket, key LIKE 'analytics/usage/%' FROM usage_statements"
    ).fetchall() == [(client.bucket, True)]


def test_a_bucket_that_forgot_it_gets_it_anew(month, export):
    export()
    backup = settings.current().require_destination("backup")
    objects.remove(backup, "analytics/usage/2026-10.json")
    run.reopen_lost(settings.current())
    export()
    assert statements.fetch(settings.current(), "2026-10")["statement"] == "2026-10"


def test_delivered_once_more_after_an_erasure_it_is_what_was_stated(month, export, connection):
    export()
    batches = [row[0] for row in connection.execute("SELECT batch_id FROM export_batches")]
    run.reopen(settings.current(), "backup", batches)
    erasures.erase(connection, KEY, "visitor-7")
    export()
    assert erase.run(settings.current()).completed == 1
    for side in ("client", "backup"):
        assert reconcile.run(settings.current(), "2026-10", side).differing == []


def test_a_day_in_the_middle_of_which_sites_began_to_be_hidden_is_compared_by_day(
    connection, buckets, environ, event, export
):
    environ["EXPORT_HASH_KEY"] = "another-secret-key"
    # The month is stated after both.
    for transforms, stated_from in (("", "infinity"), ('{"hash": ["site_id"]}', "-infinity")):
        connection.execute("UPDATE discovery_mark SET stated_from = %s", (stated_from,))
        environ["EXPORT_TRANSFORMS"] = transforms
        events.append(connection, [event(site_id="shop.example.com") for _ in range(3)])
        connection.execute("UPDATE events SET created_at = '2026-10-07 10:00:00+00' WHERE created_at > '2026-11-01'")
        discovery.discover(connection, settings.current())
        export()
    for side in ("client", "backup"):
        assert reconcile.run(settings.current(), "2026-10", side).differing == []


def test_a_bucket_that_hides_sites_is_compared_by_day(month, environ, export):
    environ["EXPORT_HASH_KEY"] = "another-secret-key"
    environ["EXPORT_TRANSFORMS"] = '{"hash": ["site_id"]}'
    export()
    for side in ("client", "backup"):
        assert reconcile.run(settings.current(), "2026-10", side).differing == []


def test_a_database_that_takes_the_place_of_a_lost_one_leaves_what_was_stated(month, export, new_database, environ):
    export()
    before = statements.fetch(settings.current(), "2026-10")
    environ["DATABASE_URL"] = new_database()
    restore.run(settings.current(), "backup")
    export()
    assert statements.fetch(settings.current(), "2026-10") == before
    assert reconcile.run(settings.current(), "2026-10", "backup").differing == []


def test_where_no_statement_was_left_it_is_made_of_what_was_brought(month, export, new_database, environ, connection):
    export()
    erasures.erase(connection, KEY, "visitor-7")
    assert erase.run(settings.current()).completed == 1
    before = statements.fetch(settings.current(), "2026-10")
    backup = settings.current().require_destination("backup")
    for key in list(objects.keys(backup, "analytics/usage/")):
        objects.remove(backup, key)
    environ["DATABASE_URL"] = url = new_database()
    restore.run(settings.current(), "backup")
    with database.connect(url) as other:
        discovery.discover(other, settings.current())
        assert metering.recount(other) == []
    export()
    made = statements.fetch(settings.current(), "2026-10")
    assert made["totals"]["events"] == before["totals"]["events"]
    for side in ("client", "backup"):
        assert made["totals"]["delivered"][side] == before["totals"]["delivered"][side]
        assert reconcile.run(settings.current(), "2026-10", side).differing == []


def _overwrite(destination, key, text):
    objects.client(destination).put_object(Bucket=destination.bucket, Key=key, Body=text)
