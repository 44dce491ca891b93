"""From the page to the bucket: what a person does on the demo site, once each, in both buckets, in every format."""

import datetime as dt
import json
import time

import httpx
import psycopg
import pytest
from demo_walk import agrees, visitor_of, walk


@pytest.fixture
def stored(platform):
    """Wait until a visitor has so many events, and give them in order."""

    def stored(visitor_id, count):
        deadline = time.monotonic() + 20
        query = "SELECT * FROM events_log WHERE visitor_id = %s ORDER BY raw_event_data->>'timestamp', raw_event_data->'seq'"
        with psycopg.connect(platform.database_url, row_factory=psycopg.rows.dict_row) as connection:
            while len(rows := connection.execute(query, (visitor_id,)).fetchall()) < count:
                assert time.monotonic() < deadline, [(row["event_type"], row["path"]) for row in rows]
                connection.rollback()
                time.sleep(0.1)
        return rows

    return stored


def written(row):
    """What every format says of an event in the same words; `raw_event_data` is text in CSV and Parquet."""
    columns = ("event_id", "event_type", "session_id", "visitor_id", "site_id", "url", "path", "user_agent")
    raw = row["raw_event_data"]
    data = json.loads(raw) if isinstance(raw, str) else raw
    return [str(row[column]) for column in columns] + [json.dumps(data, sort_keys=True)]


def test_what_a_visitor_does_lands_once_in_both_buckets_in_every_format(platform, page, stored, read_bucket):
    caused = walk(page, platform.url)
    visitor_id = visitor_of(page)
    page.close(run_before_unload=False)

    events = stored(visitor_id, len(caused))
    told = [(event["event_type"], event["path"], event["raw_event_data"]["data"]) for event in events]
    assert len(told) == len(caused), told
    assert all(map(agrees, events, caused)), told
    assert {event["site_id"] for event in events} == {"127.0.0.1"}
    assert len({event["session_id"] for event in events}) == 1
    assert "somebody" not in json.dumps([event["raw_event_data"] for event in events])

    run = httpx.post(f"{platform.url}/export/run", headers=platform.admin, timeout=120)
    assert (run.status_code, run.json()["failures"]) == (200, {})

    sent = sorted(written(event) for event in events)
    for bucket in platform.buckets.values():
        found = read_bucket(platform.s3, bucket)
        assert set(found.rows) == {"json", "csv", "parquet"}
        for rows in found.rows.values():
            assert sorted(written(row) for row in rows if row["visitor_id"] == visitor_id) == sent
    assert all(event["exported_at"] for event in stored(visitor_id, len(caused)))


def test_events_are_on_disk_within_a_second_of_a_first_page_view(platform, page, stored):
    page.goto(platform.url)
    [event] = stored(visitor_of(page), 1)
    sent = dt.datetime.fromisoformat(event["raw_event_data"]["timestamp"])
    assert event["created_at"] - sent < dt.timedelta(seconds=1)


def test_a_click_right_before_leaving_is_not_lost(platform, page, stored):
    page.goto(platform.url)
    visitor_id = visitor_of(page)
    page.evaluate("document.querySelector('h1').click()")
    page.goto("about:blank")
    assert [event["event_type"] for event in stored(visitor_id, 3)] == [
        "page_view",
        "click",
        "page_leave",
    ]


def test_two_tabs_are_one_session_of_one_visitor(platform, page, stored):
    page.goto(platform.url)
    second = page.context.new_page()
    second.goto(f"{platform.url}/shop.html")

    events = stored(visitor_of(page), 2)

    assert len({event["session_id"] for event in events}) == 1
    assert len({event["raw_event_data"]["page_view_id"] for event in events}) == 2


@pytest.mark.parametrize(
    "objection",
    [
        "Object.defineProperty(navigator, 'globalPrivacyControl', {get: () => true})",
        "Object.defineProperty(navigator, 'doNotTrack', {get: () => '1'})",
    ],
)
def test_who_objects_is_neither_sent_nor_stored(platform, page, objection):
    requests = []
    page.add_init_script(objection)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(platform.url)
    page.click("#to-shop")
    page.wait_for_url("**/shop.html")
    page.wait_for_timeout(1500)

    assert not [url for url in requests if url.endswith("/collect")]
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert page.context.cookies() == []


def test_the_pixel_is_heard_again_after_the_collector_was_away(platform, page, stored):
    refusals = []

    def refuse_twice(route):
        if len(refusals) < 2:
            refusals.append(route.request.url)
            route.fulfill(status=503, headers={"Retry-After": "1", "Access-Control-Allow-Origin": "*"})
        else:
            route.continue_()

    page.route("**/collect", refuse_twice)
    with page.expect_response(lambda response: response.status == 202):
        page.goto(platform.url)

    assert [event["event_type"] for event in stored(visitor_of(page), 1)] == ["page_view"]
    assert len(refusals) == 2


def test_another_origin_may_read_when_to_try_again(platform):
    answer = httpx.post(f"{platform.url}/collect", json={}, headers={"origin": "https://shop.example"})
    assert answer.headers["access-control-expose-headers"] == "retry-after"


def test_a_page_that_includes_the_script_twice_is_counted_once(platform, page, stored):
    page.goto(platform.url)
    page.add_script_tag(url=f"{platform.url}/js/tracking.js")
    page.click("h1")
    events = stored(visitor_of(page), 2)
    assert [event["event_type"] for event in events] == ["page_view", "click"]
