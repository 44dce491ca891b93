"""A site is told of once when it is new and once when it is certain; whoever makes names up costs nothing and gets nothing."""

import datetime as dt
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from storage import confirmation, database, discovery, events, settings
from storage.errors import WritersBusy

EARLY = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)


@pytest.fixture
def seen(connection):
    """Store an event of a site as if it had arrived so many minutes after ten."""

    def seen(site_id, session_id="session-1", minutes=0, sender_agrees=True, raw=None):
        connection.execute(
            """
            INSERT INTO events (event_type, session_id, site_id, timestamp, raw_event_data, created_at, sender_agrees)
            VALUES ('page_view', %s, %s, now(), %s, %s, %s)
            """,
            (session_id, site_id, json.dumps(raw or {}), EARLY + dt.timedelta(minutes=minutes), sender_agrees),
        )

    return seen


@pytest.fixture
def discover(connection):
    return lambda: discovery.discover(connection, settings.current())


@pytest.fixture
def told(connection):
    """What was told, in its order: type and site."""

    def told():
        rows = connection.execute(
            "SELECT type, body::jsonb -> 'data' ->> 'site_id' FROM webhook_messages ORDER BY sequence"
        )
        return [tuple(row) for row in rows.fetchall()]

    return told


@pytest.fixture
def site(connection):
    def site(site_id):
        cursor = connection.execute("SELECT * FROM sites WHERE site_id = %s", (site_id,))
        row = cursor.fetchone()
        return row and dict(zip([column.name for column in cursor.description], row, strict=True))

    return site


def test_a_new_site_is_told_of_once_with_its_domain_and_its_evidence(seen, discover, told, connection):
    seen("shop.example.com")
    seen("shop.example.com", sender_agrees=False)
    seen("shop.example.com", sender_agrees=None)
    assert discover() == ["shop.example.com"]
    seen("shop.example.com")
    assert discover() == []
    assert told() == [("site.discovered", "shop.example.com")]
    [(body,)] = connection.execute("SELECT body::jsonb -> 'data' FROM webhook_messages").fetchall()
    assert {name: body[name] for name in ("registrable_domain", "events", "agreeing_events", "differing_events")} == {
        "registrable_domain": "example.com",
        "events": 3,
        "agreeing_events": 1,
        "differing_events": 1,
    }


@pytest.mark.parametrize(
    ("minutes", "confirmed"),
    [([0, 5, 10], True), ([0, 1, 2], False), ([0, 10], False), ([0, 1, 2, 3, 11], True), ([11, 3, 0], True)],
)
def test_sessions_enough_over_time_enough_confirm_a_site(seen, discover, told, site, minutes, confirmed):
    for number, minute in enumerate(minutes):
        seen("shop.example.com", f"session-{number}", minute)
        discover()
    assert (site("shop.example.com")["state"] == "confirmed") is confirmed
    assert told() == [("site.discovered", "shop.example.com")] + [("site.confirmed", "shop.example.com")] * confirmed


@pytest.mark.parametrize(
    "fields", [{"sender_agrees": False}, {"sender_agrees": None}, {"session_id": None}, {"raw": {"_bot": "crawler"}}]
)
def test_what_is_no_evidence_confirms_nothing(seen, discover, site, fields):
    for number in range(10):
        seen("shop.example.com", **{"session_id": f"session-{number}", "minutes": number * 10, **fields})
    discover()
    assert site("shop.example.com")["state"] == "seen"


def test_one_session_is_one_however_often_it_is_seen(seen, discover, site):
    for minute in range(0, 100, 10):
        seen("shop.example.com", "session-1", minute)
    discover()
    assert site("shop.example.com")["state"] == "seen"


def test_a_site_that_only_bots_visit_is_recorded_and_told_to_nobody(seen, discover, told, site):
    seen("shop.example.com", raw={"_bot": "crawler"})
    discover()
    assert (site("shop.example.com")["bot_events"], told()) == (1, [])
    seen("shop.example.com")
    discover()
    assert told() == [("site.discovered", "shop.example.com")]


@pytest.mark.parametrize(
    ("site_id", "kind"),
    [("localhost", "local"), ("192.168.1.5", "address"), ("x--shop.netlify.app", "preview"), ("shop.test", "local")],
)
def test_what_is_no_public_site_is_recorded_and_never_billed(seen, discover, told, site, site_id, kind):
    for number in range(5):
        seen(site_id, f"session-{number}", number * 10)
    discover()
    assert (site(site_id)["kind"], site(site_id)["state"], told()) == (kind, "seen", [])


def test_a_site_that_the_operator_names_is_confirmed_at_once(seen, discover, connection, environ):
    environ["SITES"] = '{"shop.example.com": {"name": "The shop", "group": "acme"}}'
    seen("shop.example.com", sender_agrees=None)
    discover()
    rows = connection.execute("SELECT body::jsonb -> 'data' FROM webhook_messages ORDER BY sequence").fetchall()
    assert [data["group"] for (data,) in rows] == ["acme", "acme"]
    assert rows[1][0]["by"] == "settings"


def test_confirmed_sites_keep_no_sessions(seen, discover, site):
    for number in range(3):
        seen("shop.example.com", f"session-{number}", number * 10)
        discover()
    assert site("shop.example.com")["sessions"] == {}


def test_made_up_names_are_bounded_in_the_table_and_in_what_is_told(
    connection, seen, discover, told, site, monkeypatch
):
    monkeypatch.setattr(discovery, "BITE", 500)
    monkeypatch.setattr(discovery, "MOST_UNCONFIRMED", 50)
    monkeypatch.setattr(confirmation, "MOST_TOLD", 10)
    for number in range(3):
        seen("real.example.com", f"session-{number}", number * 10)
    made_up = """
        INSERT INTO events (event_type, session_id, site_id, timestamp, raw_event_data, sender_agrees)
        SELECT 'page_view', 'session-' || n, 'made-up-' || n || '.example.com', now(), '{}', true FROM generate_series(1, 2000) n
    """
    connection.execute(made_up)
    assert len(discover()) <= 60
    assert connection.execute("SELECT count(*) <= 60 FROM sites").fetchone()[0]
    kinds = [kind for kind, _ in told()]
    # Ten at first sight, and the one that was confirmed.
    assert [kinds.count(kind) for kind in ("site.discovered", "site.confirmed", "discovery.flooded")] == [11, 1, 1]
    assert site("real.example.com")["state"] == "confirmed"
    connection.execute(made_up.replace("made-up", "more"))
    seen("real.example.com", "session-9", 50)
    discover()
    assert [kind for kind, _ in told()] == kinds
    assert site("real.example.com")["events"] == 4


def test_evidence_confirms_so_many_a_day_and_the_rest_the_day_after(connection, seen, discover, told, monkeypatch):
    monkeypatch.setattr(confirmation, "MOST_TOLD", 2)
    for name in "abc":
        for number in range(3):
            seen(f"{name}.example.com", f"session-{number}", number * 10)
    discover()
    confirmed = [site_id for kind, site_id in told() if kind == "site.confirmed"]
    assert confirmed == ["a.example.com", "b.example.com"]
    connection.execute("UPDATE sites SET confirmed_at = confirmed_at - interval '25 hours'")
    discover()
    assert [site_id for kind, site_id in told() if kind == "site.confirmed"][2:] == ["c.example.com"]


def test_a_session_that_came_at_the_same_moment_as_known_ones_is_evidence_too(seen, discover, site):
    for number in (1, 2):
        seen("a.example.com", f"session-{number}", 0)
    discover()
    for number in (1, 2, 3):
        seen("a.example.com", f"session-{number}", 30)
    discover()
    assert site("a.example.com")["state"] == "confirmed"


WORK = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=12), min_size=1, max_size=12
)


@bounds(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(work=WORK, deaths=st.lists(st.integers(1, 25), max_size=6))
def test_of_eight_collectors_and_killed_discoverers_each_site_is_told_of_once(new_database, event, work, deaths):
    """Each of eight collectors stores its part while discoverers die after so many statements, and others begin."""
    url = new_database()
    over = threading.Event()

    def collect(part):
        with database.connect(url) as connection:
            for site, session in part:
                events.append(connection, [event(site_id=f"site-{site}.example.com", session_id=f"session-{session}")])

    def discover_until_the_end():
        left = list(deaths)
        while True:
            ending = over.is_set()
            try:
                with database.connect(url) as connection:
                    discovery.discover(_Dying(connection, left.pop() if left else None), settings.current())
            except (_Died, WritersBusy, psycopg.OperationalError):
                continue
            if ending:
                return

    with ThreadPoolExecutor(2) as discovering, ThreadPoolExecutor(8) as collecting:
        discoverers = [discovering.submit(discover_until_the_end) for _ in range(2)]
        for done in [collecting.submit(collect, part) for part in work]:
            done.result()
        over.set()
        for done in discoverers:
            done.result()
    with database.connect(url) as connection:
        told = connection.execute(
            "SELECT body::jsonb -> 'data' ->> 'site_id' FROM webhook_messages WHERE type = 'site.discovered'"
        ).fetchall()
        counted = dict(connection.execute("SELECT site_id, events FROM sites").fetchall())
    sent = [f"site-{site}.example.com" for part in work for site, _ in part]
    assert sorted(row[0] for row in told) == sorted(set(sent))
    assert counted == {site_id: sent.count(site_id) for site_id in set(sent)}


class _Died(Exception):
    pass


class _Dying:
    """A connection whose client is gone after so many statements: the server rolls back what was not committed."""

    def __init__(self, connection, after):
        self._connection, self._left = connection, after

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, *arguments, **options):
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._connection.pgconn.finish()
                raise _Died
        return self._connection.execute(*arguments, **options)
