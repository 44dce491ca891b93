"""What was used, by the route: of all, of a site, of a group; with totals, what it was before, and what is billed."""

import datetime as dt
import json

import pytest

import domain_discovery.app
from storage import settings
from storage.export import run

SITES = {"shop.example.com": {"name": "The shop", "group": "acme"}, "blog.example.org": {"group": "acme"}}
TODAY = dt.datetime.now(dt.UTC).date()
DAY = dt.timedelta(days=1)


@pytest.fixture
def used(call, environ):
    environ["SITES"] = json.dumps(SITES)

    def used(query="", status=200):
        answer = call(domain_discovery.app.handler, "GET", f"/usage{query}")
        assert answer.status == status, answer.json
        return answer.json

    return used


def page(host, event_type="page_view", **more):
    return {"event_type": event_type, "url": f"https://{host}/", **more}


def by(items, name):
    return {item[name]: item for item in items}


def test_usage_is_told_by_site_group_day_and_type(used, post):
    for number in range(3):
        post(page("shop.example.com", visitor_id=f"visitor-{number}", session_id="session-1"))
    post(page("shop.example.com", "purchase"))
    post(page("blog.example.org", visitor_id="visitor-1"))
    post(page("localhost"))
    post({"event_type": "custom"})

    told = used()

    assert (told["from"], told["to"]) == (str(TODAY.replace(day=1)), str(TODAY + DAY))
    assert (told["totals"]["events"], told["totals"]["visitors"], told["totals"]["sessions"]) == (7, 3, 1)
    assert told["billed"]["events"] == 5
    sites = by(told["sites"], "site_id")
    assert {name: one["events"] for name, one in sites.items()} == {
        "shop.example.com": 4, "blog.example.org": 1, "localhost": 1, "": 1,
    }  # fmt: skip
    shop = sites["shop.example.com"]
    assert (shop["name"], shop["group"], shop["billed"], shop["visitors"]) == ("The shop", "acme", True, 3)
    assert not sites["localhost"]["billed"]
    assert {name: one["events"] for name, one in told["groups"].items()} == {"acme": 5, "": 2}
    assert [(one["day"], one["events"]) for one in told["days"]] == [(str(TODAY), 7)]
    assert {one["event_type"]: one["events"] for one in told["types"]} == {"page_view": 5, "purchase": 1, "": 1}


def test_of_one_site_or_one_group_it_is_theirs_alone(used, post):
    post(page("shop.example.com"))
    post(page("blog.example.org"))
    post(page("other.example.net"))
    assert used("?site=www.Shop.example.com")["totals"]["events"] == 1
    assert used("?group=acme")["totals"]["events"] == 2
    assert used("?group=nobody", 404)["error"]["code"] == "group_unknown"
    assert used("?site=nowhere.example.com", 404)["error"]["code"] == "site_unknown"
    assert used("?sites=shop.example.com", 400)["error"]["code"] == "parameter_unknown"


def test_what_came_twice_or_was_refused_or_withheld_is_told_beside_it(used, post):
    event = page("shop.example.com", event_id="0b8ad5b6-6d0c-4e0e-9a53-6d0b4c2f8f11")
    post(event)
    used()
    for _ in range(2):
        post({"events": [event, event, page("shop.example.com")]})
    post(page("shop.example.com", "Not a type"))
    post(page("shop.example.com"), headers={"sec-gpc": "1", "origin": "https://shop.example.com"})
    totals = used("?site=shop.example.com")["totals"]
    assert {name: totals[name] for name in ("events", "duplicates", "refused", "withheld")} == {
        "events": 3, "duplicates": 4, "refused": 1, "withheld": 1,
    }  # fmt: skip


def test_what_was_delivered_is_told_by_destination_and_once(used, post, connection, buckets, environ):
    environ["EXPORT_FORMAT"] = "json,parquet"
    for _ in range(3):
        post(page("shop.example.com"))
    post(page("blog.example.org"))
    assert run.run(settings.current()).failures == {}
    told = used()
    sizes = dict(connection.execute("SELECT destination, sum(bytes)::int FROM export_deliveries GROUP BY 1").fetchall())
    assert told["totals"]["delivered"] == {side: {"events": 4, "bytes": sizes[side]} for side in ("client", "backup")}
    shop = by(told["sites"], "site_id")["shop.example.com"]["delivered"]["client"]
    assert (shop["events"], shop["bytes"] < sizes["client"]) == (3, True)
    assert told["storage"]["destinations"] == sizes
    held = [one["held"]["backup"] for one in told["sites"] if one["held"]]
    assert (len(held), abs(sum(held) - sizes["backup"]) <= 1) == (2, True)
    assert told["storage"]["database_bytes"] > 1_000_000

    run.reopen(
        settings.current(), "client", [row[0] for row in connection.execute("SELECT batch_id FROM export_batches")]
    )
    assert run.run(settings.current()).failures == {}
    assert used()["totals"]["delivered"] == told["totals"]["delivered"]


def test_the_trend_compares_with_as_many_days_before(used, post, connection):
    for _ in range(8):
        post(page("shop.example.com"))
    connection.execute("UPDATE events SET created_at = created_at - interval '7 days' WHERE id <= 2")
    events = used(f"?from={TODAY - 6 * DAY}")["trend"]["events"]
    assert events == {"before": 2, "change": 2.0}
    assert used(f"?from={TODAY}&to={TODAY + DAY}")["trend"]["events"] == {"before": 0, "change": None}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?from=yesterday", "from_invalid"),
        ("?to=2026-13-01", "to_invalid"),
        ("?from=2026-11-02&to=2026-11-02", "range_invalid"),
        ("?from=2026-11-02&to=2026-11-01", "range_invalid"),
        ("?from=2020-01-01&to=2026-11-01", "range_invalid"),
        ("?to=0001-01-01", "to_invalid"),
        ("?to=9999-12-31", "to_invalid"),
    ],
)
def test_a_range_that_is_none_is_named(used, query, code):
    assert used(query, 400)["error"]["code"] == code


def test_a_recount_says_where_it_is_not_what_was_metered(used, post, call, connection):
    post(page("shop.example.com"))
    used()
    told = lambda: call(domain_discovery.app.handler, "GET", "/usage/recount").json["differing"]  # noqa: E731
    assert told() == []
    connection.execute("UPDATE usage_days SET events = 7")
    [differing] = told()
    assert (differing["site_id"], differing["metered_events"], differing["events"]) == ("shop.example.com", 7, 1)
