"""What is metered is what came, by site, day and type, whatever dies, goes, floods or is confirmed meanwhile."""

import datetime as dt
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from storage import (
    audiences,
    confirmation,
    database,
    discovery,
    erasures,
    metering,
    refusals,
    retention,
    settings,
    usage,
)

KEY = b"demo-privacy-key"
DAY = dt.date(2026, 11, 23)
NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


@pytest.fixture
def came(connection):
    """Store an event of a site as if it had arrived then."""

    def came(
        site_id="a.example.com", event_type="page_view", when=NOON, visitor="visitor-1", session="session-1", raw=None
    ):
        connection.execute(
            """
            INSERT INTO events (event_type, visitor_id, session_id, site_id, timestamp, raw_event_data, created_at, sender_agrees)
            VALUES (%s, %s, %s, %s, now(), %s, %s, true)
            """,
            (event_type, visitor, session, site_id, json.dumps(raw or {}), when),
        )

    return came


@pytest.fixture
def discover(connection):
    return lambda: discovery.discover(connection, settings.current())


@pytest.fixture
def used(connection):
    """The events and bytes that were metered, by day, site and type."""

    def used():
        rows = connection.execute("SELECT day, site_id, event_type, events, bytes FROM usage_days WHERE events > 0")
        return {(str(day)[5:], site, kind): (events, size) for day, site, kind, events, size in rows}

    return used


def test_events_are_metered_by_day_site_and_type(came, discover, used):
    for when in (NOON, NOON.replace(hour=23, minute=59), dt.datetime(2026, 11, 24, tzinfo=dt.UTC)):
        came(when=when, raw={"n": 1})
    came(event_type="purchase")
    came("b.example.com", raw={"_bot": ["crawler"]})
    came(None)
    discover()
    assert used() == {
        ("11-23", "a.example.com", "page_view"): (2, 16),
        ("11-24", "a.example.com", "page_view"): (1, 8),
        ("11-23", "a.example.com", "purchase"): (1, 2),
        ("11-23", "b.example.com", "page_view"): (1, 21),
        ("11-23", "", ""): (1, 2),
    }


def test_what_is_erased_or_too_old_was_used_all_the_same(came, discover, used, connection, policy):
    for number in range(6):
        came(visitor=f"visitor-{number % 2}", event_type="purchase")
    discover()
    before = used()
    erasures.erase(connection, KEY, "visitor-0")
    assert (used(), metering.recount(connection)) == (before, [])
    policy({"events_days": 8})
    connection.execute("UPDATE events SET created_at = created_at - interval '30 days'")
    connection.execute("UPDATE usage_days SET day = day - 30")
    connection.execute("UPDATE usage_dropped SET day = day - 30")
    assert retention.run(settings.current()).events == 3
    assert metering.recount(connection) == []
    assert sum(events for events, _ in used().values()) == 6
    discover()
    assert sum(events for events, _ in used().values()) == 6


def test_what_is_erased_before_it_is_counted_was_used_too(came, discover, used, connection):
    came(visitor="visitor-0")
    discover()
    came(visitor="visitor-0")
    erasures.erase(connection, KEY, "visitor-0")
    assert sum(events for events, _ in used().values()) == 2
    metering.begin_anew(connection)
    discover()
    assert sum(events for events, _ in used().values()) == 2
    assert metering.recount(connection) == []


def test_counted_anew_it_is_the_same(came, discover, used, connection):
    for number in range(20):
        came(f"{'abc'[number % 3]}.example.com", event_type=f"type_{number % 4}", visitor=f"visitor-{number}")
    discover()
    erasures.erase(connection, KEY, "visitor-3")
    before, people = used(), audiences.counts(connection, DAY, DAY + dt.timedelta(days=1))
    metering.begin_anew(connection)
    discover()
    assert used() == before
    assert audiences.counts(connection, DAY, DAY + dt.timedelta(days=1)) == people


def test_a_hundred_types_of_a_site_are_counted_by_name_and_the_others_together(came, discover, used, monkeypatch):
    monkeypatch.setattr(metering, "MOST_TYPES", 3)
    for kind in ("one", "two", "one"):
        came(event_type=kind)
    discover()
    for kind in ("three", "four", "five", "two", "four"):
        came(event_type=kind)
        came("b.example.com", event_type=kind)
    discover()
    of_a = {kind: events for (_, site, kind), (events, _) in used().items() if site == "a.example.com"}
    assert of_a == {"one": 2, "two": 2, "three": 1, "": 3}


def test_a_site_that_found_no_place_has_what_came_before_once_it_is_confirmed(
    came, discover, used, connection, monkeypatch
):
    monkeypatch.setattr(discovery, "MOST_UNCONFIRMED", 1)
    monkeypatch.setattr(confirmation, "MOST_TOLD", 0)
    for _ in range(2):
        came("strong.example.com", visitor="visitor-1")
    came("weak.example.com", visitor="visitor-2")
    discover()
    assert set(used()) == {("11-23", "strong.example.com", "page_view"), ("11-23", "", "")}
    connection.execute("UPDATE sites SET told_at = now()")
    came("weak.example.com", visitor="visitor-3")
    discover()
    confirmation.confirm_by_hand(connection, settings.current(), "weak.example.com")
    assert used()["11-23", "weak.example.com", "page_view"] == (2, 4)
    assert audiences.counts(connection, DAY, DAY + dt.timedelta(days=1))[1]["weak.example.com"] == (2, 1)
    assert metering.recount(connection) == []


def test_a_refusal_that_is_handed_in_again_counts_once(connection):
    refusal = refusals.Refusal(str(UUID(int=1)), "event_type_invalid", "…", None, None, 10, None)
    for _ in range(2):
        refusals.keep(connection, [refusal])
    assert connection.execute("SELECT site_id, reason, events FROM turned_away_events").fetchall() == [
        ("", "refused", 1)
    ]


def test_writers_that_name_unknown_sites_in_whatever_order_wait_for_one_another(new_database):
    """They all count under the same empty name, and must not take it in the order of theirs."""
    url = new_database()

    def count(first, second):
        with database.connect(url) as connection:
            for _ in range(60):
                with connection.transaction():
                    refusals.count_turned_away(connection, "refused", {first: 1, second: 1})
                    refusals.count_withheld(connection, {("dnt", first): 1, ("dnt", second): 1})

    with database.connect(url) as connection:
        connection.execute(
            "INSERT INTO sites (site_id, first_seen_at, last_seen_at, events) VALUES ('b.example.com', now(), now(), 0)"
        )
        with ThreadPoolExecutor(4) as pool:
            names = [("a.example.com", "b.example.com"), ("b.example.com", "c.example.com")] * 2
            for done in [pool.submit(count, *both) for both in names]:
                done.result()
        counted = connection.execute(
            "SELECT site_id, sum(events)::int FROM turned_away_events GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert counted == [("", 240), ("b.example.com", 240)]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(0, 4), st.integers(0, 3), st.integers(0, 2)),
        st.tuples(st.just("come"), st.integers(0, 4), st.integers(0, 3), st.integers(0, 2)),
        st.tuples(st.just("discover")),
        st.tuples(st.just("erase"), st.integers(0, 2)),
        st.tuples(st.just("age"), st.integers(1, 4)),
        st.tuples(st.sampled_from(["confirm", "refuse"]), st.integers(0, 4)),
        st.tuples(st.just("anew")),
    ),
    min_size=1,
    max_size=30,
)


@bounds(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_whatever_happens_what_is_metered_is_what_a_recount_finds(new_database, operations):
    """Names find no place, are dropped and confirmed, events go for both reasons, types are too many, and all is in tiny bites."""
    with pytest.MonkeyPatch.context() as patch, database.connect(new_database()) as connection:
        patch.setattr(discovery, "MOST_UNCONFIRMED", 2)
        patch.setattr(discovery, "BITE", 3)
        patch.setattr(confirmation, "MOST_TOLD", 1)
        patch.setattr(metering, "MOST_TYPES", 2)
        current = settings.current()
        for name, *what in operations:
            if name == "come":
                site, kind, visitor = what
                connection.execute(
                    """
                    INSERT INTO events (event_type, visitor_id, site_id, timestamp, raw_event_data)
                    VALUES (%s, %s, %s, now(), %s)
                    """,
                    (f"type_{kind}", f"visitor-{visitor}", f"s{site}.example.com", json.dumps({"n": 10**visitor})),
                )
            elif name == "discover":
                discovery.discover(connection, current)
            elif name == "erase":
                erasures.erase(connection, KEY, f"visitor-{what[0]}")
                connection.execute("DELETE FROM suppressed_visitors")
            elif name == "age":
                connection.execute(
                    "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT %s)", (what[0],)
                )
            elif name == "confirm":
                confirmation.confirm_by_hand(connection, current, f"s{what[0]}.example.com")
            elif name == "refuse":
                confirmation.refuse(connection, f"s{what[0]}.example.com")
            else:
                metering.begin_anew(connection)
            assert metering.recount(connection) == []
        discovery.discover(connection, current)
        assert metering.recount(connection) == []
        metered = connection.execute(
            "SELECT u.site_id, sum(u.events)::int FROM usage_days u JOIN sites s ON s.site_id = u.site_id AND s.metered GROUP BY 1"
        ).fetchall()
        held = Counter(row[0] for row in connection.execute("SELECT site_id FROM events"))
        assert all(events >= held[site_id] for site_id, events in metered)


def test_visitors_and_sessions_are_counted_over_days_and_sites_once_each_and_bots_not(came, discover, connection):
    for number in range(300):
        for site in ("a", "b"):
            came(f"{site}.example.com", visitor=f"visitor-{number % 150}", session=f"session-{number}",
                 when=NOON + dt.timedelta(days=number % 2))  # fmt: skip
    came(visitor="visitor-bot", session="session-bot", raw={"_bot": ["crawler"]})
    came(visitor=None, session=None)
    discover()
    together, by_site = audiences.counts(connection, DAY, DAY + dt.timedelta(days=2))
    assert together == by_site["a.example.com"] == by_site["b.example.com"] == (150, 300)
    first, _ = usage.lines(connection, DAY, DAY + dt.timedelta(days=2), ["a.example.com"])
    assert (first["visitors"], first["sessions"]) == (75, 150)
    month = connection.execute("SELECT visitor_count FROM usage_audiences WHERE period = 'month'").fetchall()
    assert month == [(150,), (150,)]


def test_of_many_visitors_the_number_is_off_by_little(connection, discover):
    connection.execute(
        """
        INSERT INTO events (event_type, visitor_id, site_id, timestamp, raw_event_data, created_at)
        SELECT 'page_view', 'visitor-' || n, 'a.example.com', now(), '{}', %s FROM generate_series(1, 50000) n
        """,
        (NOON,),
    )
    discover()
    (visitors, _), _ = audiences.counts(connection, DAY, DAY + dt.timedelta(days=1))
    # Three standard deviations; the hashes are the same each time.
    assert abs(visitors / 50_000 - 1) < 3 * 1.04 / 64
    assert len(connection.execute("SELECT visitors FROM usage_audiences").fetchone()[0]) < 5_000
