"""Of what was agreed on for a month 80 and 100 % are told of, each once, and nothing is dropped."""

import datetime as dt
import json
from types import SimpleNamespace

import pytest

from storage import confirmation, discovery, quotas, settings

MONTH = dt.datetime.now(dt.UTC).date().replace(day=1)


@pytest.fixture
def used(connection):
    """So many events of a site arrived just now, and discovery has read them."""

    def used(**sites):
        for name, events in sites.items():
            connection.execute(
                """
                INSERT INTO events (event_type, site_id, timestamp, raw_event_data)
                SELECT 'page_view', %s, now(), '{}' FROM generate_series(1, %s)
                """,
                (f"{name}.example.com", events),
            )
        discovery.discover(connection, settings.current())

    return used


@pytest.fixture
def told(connection):
    def told():
        rows = connection.execute(
            "SELECT body::jsonb -> 'data' FROM webhook_messages WHERE type = 'usage.quota_reached' ORDER BY sequence"
        ).fetchall()
        return [(one["scope"], one["name"], one["reached_percent"], one["overage_events"]) for (one,) in rows]

    return told


@pytest.fixture
def agreed(environ):
    environ["QUOTA_EVENTS"] = "20"
    environ["SITE_GROUPS"] = json.dumps({"acme": {"quota_events": 10}})
    environ["SITES"] = json.dumps(
        {"shop.example.com": {"group": "acme", "quota_events": 5}, "blog.example.com": {"group": "acme"}}
    )


def test_each_share_of_each_quota_is_told_once(agreed, used, told):
    used(shop=3, blog=4)
    assert told() == []
    used(shop=1)
    assert told() == [("group", "acme", 80, 0), ("site", "shop.example.com", 80, 0)]
    used()
    used(shop=2, blog=6)
    assert told()[2:] == [
        ("installation", "", 80, 0),
        ("group", "acme", 100, 6),
        ("site", "shop.example.com", 100, 1),
    ]
    used(blog=100)
    assert told()[5:] == [("installation", "", 100, 96)]


def test_what_is_not_billed_is_nobodys_quota(agreed, used, told, connection):
    used(other=50)
    assert told() == []
    confirmation.confirm_by_hand(connection, settings.current(), "other.example.com")
    used()
    assert [one[:3] for one in told()] == [("installation", "", 80), ("installation", "", 100)]


def test_the_next_month_begins_at_nothing(agreed, used, told, connection):
    used(shop=5)
    connection.execute("UPDATE events SET created_at = created_at - interval '40 days'")
    connection.execute("UPDATE usage_days SET day = day - 40")
    connection.execute("UPDATE usage_quotas_told SET month = month - 40")
    used(shop=4)
    assert [one[:3] for one in told()] == [
        ("site", "shop.example.com", 80),
        ("site", "shop.example.com", 100),
        ("site", "shop.example.com", 80),
    ]
    [shop] = [one for one in quotas.standing(connection, settings.current(), MONTH) if one["scope"] == "site"]
    assert (shop["events"], shop["percent"]) == (4, 80)


def test_a_quota_that_the_last_moments_of_a_month_passed_is_told_in_the_next(
    agreed, used, told, connection, monkeypatch
):
    after_midnight = SimpleNamespace(now=lambda tz: dt.datetime(2026, 11, 1, 0, 1, tzinfo=tz))
    connection.execute(
        """
        INSERT INTO events (event_type, site_id, timestamp, raw_event_data, created_at)
        SELECT 'page_view', 'shop.example.com', now(), '{}', '2026-10-31 23:59:50+00' FROM generate_series(1, 5)
        """
    )
    monkeypatch.setattr(
        quotas, "dt", SimpleNamespace(datetime=after_midnight, timedelta=dt.timedelta, date=dt.date, UTC=dt.UTC)
    )
    discovery.discover(connection, settings.current())
    monkeypatch.undo()
    assert ("site", "shop.example.com", 100, 0) in told()
