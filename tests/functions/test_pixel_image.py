"""`/pixel.gif`: what a browser that can do no better says in an image's address."""

import functools
import json
from urllib.parse import quote

import pytest

import collect.app


@pytest.fixture
def get(call, database_url):
    """Ask for the image as a page would."""
    return functools.partial(call, collect.app.handler, "GET", admin=False)


def is_image(answer):
    return (answer.status, answer.headers["content-type"]) == (200, "image/gif") and answer.text.startswith("GIF89a")


def test_a_page_without_scripts_is_counted_by_its_referrer(get, rows):
    answer = get("/pixel.gif", headers={"referer": "https://shop.example.com/p", "user-agent": "Browser/1"})
    assert is_image(answer)
    assert answer.headers["cache-control"] == "no-store"
    [event] = rows("SELECT * FROM events_log")
    assert (event["event_type"], event["site_id"], event["path"]) == ("page_view", "shop.example.com", "/p")
    assert event["user_agent"] == "Browser/1"
    assert event["raw_event_data"]["data"] == {"noscript": True}


# The second is the endpoint itself, which a site may have given another name.
@pytest.mark.parametrize("path", ["/pixel.gif", "/collect"])
def test_an_address_carries_a_beacon(get, rows, path):
    beacon = {"visitor_id": "visitor-1", "events": [{"event_type": "page_view", "url": "https://a.example/ü?x=1&y=+"}]}
    for _ in range(2):
        beacon["events"][0]["event_id"] = "0193a5b1-7c2e-7d3f-8a4b-000000000001"
        assert is_image(get(f"{path}?d={quote(json.dumps(beacon))}"))
    [event] = rows("SELECT * FROM events_log")
    assert (event["visitor_id"], event["url"]) == ("visitor-1", "https://a.example/ü?x=1&y=+")


@pytest.mark.parametrize("query", ["", "?d=", "?d=nonsense", "?d=%ff", "?d=[]"])
def test_what_cannot_be_read_is_an_image_too_and_kept_as_refused(get, rows, query):
    assert is_image(get(f"/pixel.gif{query}"))
    assert rows("SELECT * FROM events_log") == []
    assert len(rows("SELECT reason FROM rejected_events")) == 1


@pytest.mark.parametrize("signal", ["dnt", "sec-gpc"])
def test_who_asks_not_to_be_tracked_leaves_a_number(get, rows, signal):
    assert is_image(get("/pixel.gif", headers={"referer": "https://shop.example.com/", signal: "1"}))
    assert rows("SELECT * FROM events_log") == []
    assert rows("SELECT sum(beacons)::int AS n FROM withheld_beacons") == [{"n": 1}]


def test_a_database_that_is_away_is_told_to_who_can_send_again(call, environ):
    environ["DATABASE_URL"] = "postgresql://127.0.0.1:1/none"
    answer = call(collect.app.handler, "GET", "/pixel.gif", headers={"referer": "https://a.example/"}, admin=False)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
