"""Conservation: whatever came is exported, left out, refused, withheld, erased or pending; nothing is over."""

import datetime as dt
import json

import pytest

from storage import balance, erasures, refusals, settings
from storage.export import contract, run
from storage.refusals import Refusal

KEY = b"demo-privacy-key"
HOUR = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)
NOW = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def lines(connection):
    """The balance of some hours by hour and site, whose every difference is zero."""

    def lines(start=HOUR, end=None, balanced=True):
        found = balance.balance(connection, ["client", "backup"], start, end or start + balance.HOUR)
        assert all(not one.difference for line in found for one in line.destinations.values()) == balanced
        return {(line.hour, line.site_id): line for line in found}

    return lines


def export():
    outcome = run.run(settings.current())
    assert outcome.failures == {}
    return outcome


def test_what_is_stored_is_pending_until_each_bucket_has_it(connection, buckets, many, lines, fault):
    many(30)
    [client, backup] = lines()[HOUR, "site1.example"].destinations.values()
    assert (client.pending, backup.pending) == (10, 10)

    fault("backup", "PutObject", (403, "AccessDenied"))
    run.run(settings.current())

    line = lines()[HOUR, "site1.example"]
    assert line.received == 10
    assert line.destinations["client"] == balance.Delivered(exported=10)
    assert line.destinations["backup"] == balance.Delivered(pending=10)


def test_a_row_that_the_bucket_lacks_is_over(connection, buckets, many, lines):
    many(30)
    export()
    connection.execute("UPDATE export_deliveries SET objects = jsonb_set(objects, '{0,sites,site1.example}', '9')")
    line = lines(balanced=False)[HOUR, "site1.example"]
    assert line.destinations["client"].difference == 1


def test_what_filters_leave_out_is_told_by_site(connection, buckets, many, lines, environ):
    many(30)
    environ["EXPORT_FILTERS"] = '{"sites": ["site1.example"]}'
    export()
    found = lines()
    assert found[HOUR, "site0.example"].destinations["client"] == balance.Delivered(left_out=10)
    assert found[HOUR, "site0.example"].destinations["backup"] == balance.Delivered(exported=10)
    assert found[HOUR, "site1.example"].destinations["client"] == balance.Delivered(exported=10)


@pytest.mark.parametrize("formats", ["parquet", "json,csv,parquet"])
def test_each_row_counts_once_however_many_formats_it_has(connection, buckets, many, lines, environ, formats):
    environ["EXPORT_FORMAT"] = formats
    environ["EXPORT_OBJECT_MIB"] = 1
    many(9000)
    export()
    assert lines()[HOUR, "site1.example"].destinations["client"].exported == 3000


def test_erased_before_they_are_read_events_are_erased_and_after_it_still_exported(connection, buckets, many, lines):
    many(100)
    erasures.erase(connection, KEY, "visitor-1")
    assert sum(line.destinations["client"].erased for line in lines().values()) == 1
    export()
    lines()
    erasures.erase(connection, KEY, "visitor-2")
    found = lines()
    assert sum(line.received for line in found.values()) == 100
    assert sum(line.destinations["client"].erased for line in found.values()) == 1
    assert sum(line.destinations["client"].exported for line in found.values()) == 99


def test_erased_between_the_plan_and_the_reading_it_balances(connection, buckets, many, lines, fault):
    many(100)
    fault("client", "PutObject", (403, "AccessDenied"))
    run.run(settings.current())
    fault.lift()
    erasures.erase(connection, KEY, "visitor-1")
    lines()
    export()
    found = lines()
    assert sum(line.destinations["client"].erased for line in found.values()) == 1
    assert sum(line.destinations["backup"].exported for line in found.values()) == 100


def test_what_was_refused_or_withheld_is_counted_where_its_site_is_known(connection, buckets, lines):
    connection.execute(
        "INSERT INTO sites VALUES ('shop.example.com', now(), now(), gen_random_uuid(), 1)",
    )
    refusals.keep(
        connection, [Refusal("0" * 8 + "-0000-4000-8000-000000000000", "r", "m", "shop.example.com", None, 1, None)]
    )
    refusals.count_withheld(connection, {("dnt", "shop.example.com"): 2, ("gpc", "made.up"): 3})
    refusals.count_withheld(connection, {("dnt", "shop.example.com"): 1})
    found = lines(NOW - balance.HOUR, NOW + 2 * balance.HOUR)
    assert sum(line.refused for line in found.values()) == 1
    assert {line.site_id: line.withheld for line in found.values() if line.withheld} == {"shop.example.com": 3, "": 3}


def test_each_hour_that_is_over_has_its_balance_in_both_buckets(connection, buckets, many):
    contract._there.clear()
    many(30, "2026-11-23 10:15:00+00")
    many(60, "2026-11-23 12:15:00+00")
    export()
    for side in ("client", "backup"):
        keys = [
            item["Key"]
            for item in buckets.s3.list_objects_v2(Bucket=buckets.names[side], Prefix="analytics/balance/")["Contents"]
        ]
        assert keys == [f"analytics/balance/date=2026-11-23/hour={hour}.json" for hour in (10, 12)]
        report = json.loads(buckets.s3.get_object(Bucket=buckets.names[side], Key=keys[1])["Body"].read())
        assert report["hour"] == "2026-11-23T12:00:00Z"
        assert [site["site_id"] for site in report["sites"]] == ["site0.example", "site1.example", "site2.example"]
        assert {(site["received"], site["exported"], site["difference"]) for site in report["sites"]} == {(20, 20, 0)}


def test_an_hour_waits_for_its_last_batch(connection, buckets, many, environ, fault):
    environ["EXPORT_BATCH_ROWS"] = 20
    many(30, "2026-11-23 10:15:00+00")
    many(30, "2026-11-23 11:15:00+00")
    fault("client", "PutObject", (403, "AccessDenied"))
    run.run(settings.current())
    assert balance.due(connection, "client", buckets.names["client"], 10) == []
    fault.lift()
    export()
    written = connection.execute("SELECT destination, hour, difference FROM export_balances ORDER BY 1, 2").fetchall()
    assert [(name, hour.hour, difference) for name, hour, difference in written] == [
        ("backup", 10, 0), ("backup", 11, 0), ("client", 10, 0), ("client", 11, 0)]  # fmt: skip
