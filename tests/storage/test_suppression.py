"""Nothing of an erased visitor is stored any more, whoever writes at the same moment."""

import datetime as dt
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import collect.app
import visitor_deletion.app
from storage import database, erasures, events, visitors
from storage.errors import SettingsInvalid, WritersBusy
from storage.events import Event

KEY = b"demo-privacy-key"
MOMENT = dt.datetime(2026, 11, 26, 12, 0, tzinfo=dt.UTC)


def event(number, visitor_id="visitor-1"):
    return Event(
        event_id=f"019b7999-0000-7000-8000-{number:012}",
        event_type="page_view",
        session_id=None,
        visitor_id=visitor_id,
        site_id=None,
        timestamp=MOMENT,
        url=None,
        path=None,
        user_agent=None,
        ip_address=None,
        raw_event_data={"visitor_id": visitor_id},
        visitor_hash=visitors.hash_of(KEY, visitor_id),
    )


def stored(connection):
    return [row[0] for row in connection.execute("SELECT visitor_id FROM events ORDER BY id")]


@pytest.fixture
def in_the_background():
    """Do something in a thread; gives what joins it."""
    threads = []

    def begin(work):
        thread = threading.Thread(target=work)
        thread.start()
        threads.append(thread)
        return thread

    yield begin
    for thread in threads:
        thread.join(10)


def until_somebody_waits(connection):
    ends = time.monotonic() + 10
    while not connection.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone():
        assert time.monotonic() < ends, "nobody waits"


def test_a_late_beacon_of_an_erased_visitor_is_answered_as_ever_and_leaves_nothing(call, database_url, connection):
    beacon = {"visitor_id": "visitor-1", "events": [{"event_type": "page_view"}, {"event_type": "?"}]}
    assert call(visitor_deletion.app.handler, "DELETE", "/visitors/visitor-1").status == 202

    answer = call(collect.app.handler, "POST", "/collect", beacon, admin=False)

    # Nor can anybody tell from it who was erased.
    assert (answer.status, answer.json["accepted"], answer.json["duplicates"]) == (202, 1, 0)
    assert stored(connection) == []
    assert connection.execute("SELECT count(*) FROM rejected_events").fetchone() == (0,)


def test_others_in_the_same_beacons_are_stored(connection):
    with connection.transaction():
        visitors.suppress(connection, visitors.hash_of(KEY, "visitor-1"))
    events.append(connection, [event(1), event(2, "visitor-2"), event(3)])
    assert stored(connection) == ["visitor-2"]


def test_a_writer_that_waited_for_the_suppression_sees_it(database_url, connection, in_the_background):
    def write():
        with database.connect(database_url) as other:
            events.append(other, [event(1)])

    with connection.transaction():
        visitors.suppress(connection, visitors.hash_of(KEY, "visitor-1"))
        writer = in_the_background(write)
        with database.connect(database_url) as observer:
            until_somebody_waits(observer)
    writer.join(10)
    assert stored(connection) == []


def test_what_a_writer_stores_while_the_erasure_waits_for_it_is_erased(database_url, connection, in_the_background):
    receipts = []

    def erase():
        with database.connect(database_url) as other:
            receipts.append(erasures.erase(other, KEY, "visitor-1"))

    with connection.transaction():
        events.append(connection, [event(1)])
        eraser = in_the_background(erase)
        with database.connect(database_url) as observer:
            until_somebody_waits(observer)
    eraser.join(10)
    assert receipts[0]["events_erased"] == 1
    assert stored(connection) == []


def test_a_writer_that_does_not_end_holds_up_the_others_for_a_moment_only(database_url, connection):
    with connection.transaction():
        events.append(connection, [event(1)])
        with database.connect(database_url) as other, pytest.raises(WritersBusy, match="still open"):
            erasures.erase(other, KEY, "visitor-1")


def test_another_key_than_the_first_is_refused_because_it_knows_nobody_again(connection):
    erasures.erase(connection, KEY, "visitor-1")
    with pytest.raises(SettingsInvalid, match="PRIVACY_KEY is another one"):
        erasures.erase(connection, b"another-privacy-key", "visitor-1")


@given(key=st.binary(min_size=1, max_size=200), ids=st.lists(st.text(max_size=80), max_size=20))
def test_many_are_hashed_as_one_is(key, ids):
    assert visitors.hashes_of(key, ids) == sorted(visitors.hash_of(key, one) for one in ids)
