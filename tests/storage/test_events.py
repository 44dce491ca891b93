"""The events store: each event once, whoever writes, and a mark below which nothing appears."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage import database, events
from storage.errors import DatabaseUnavailable, SchemaTooNew, WritersBusy


def test_the_same_ids_appended_by_many_at_once_in_any_order_count_once(database_url, event, connection):
    same = [event() for _ in range(200)]

    def append(turn):
        with database.connect(database_url) as own:
            return len(events.append(own, same if turn % 2 else same[::-1]).stored)

    with ThreadPoolExecutor(8) as writers:
        stored = list(writers.map(append, range(8)))

    assert sum(stored) == 200
    assert events.count(connection) == 200


def test_an_id_twice_in_one_append_is_stored_once(connection, event):
    twice = event()
    assert events.append(connection, [twice, twice]).stored == {twice.event_id}
    assert events.count(connection) == 1


def test_a_value_that_postgresql_refuses_takes_no_other_event_with_it(connection, event):
    good = [event() for _ in range(99)]
    bad = event(raw_event_data={"text": "a\0b"})

    appended = events.append(connection, [*good[:50], bad, *good[50:]])

    assert appended.stored == {item.event_id for item in good}
    assert set(appended.unstorable) == {bad.event_id}


def test_the_customers_table_can_be_read_and_written_by_hand(connection):
    connection.execute(
        "INSERT INTO events_log (event_type, site_id, timestamp, raw_event_data) VALUES ('custom', 'a.example', now(), '{}')"
    )
    columns = [
        column.name for column in connection.execute("SELECT * FROM events_log WHERE exported_at IS NULL").description
    ]

    assert columns == [
        "id",
        "event_id",
        "event_type",
        "session_id",
        "visitor_id",
        "site_id",
        "timestamp",
        "url",
        "path",
        "user_agent",
        "ip_address",
        "raw_event_data",
        "created_at",
        "exported_at",
    ]
    assert connection.execute("SELECT count(*) FROM events_log WHERE exported_at IS NULL").fetchone() == (1,)


def test_the_mark_waits_for_writers_that_have_drawn_an_id(database_url, connection, event):
    early, late = database.connect(database_url), database.connect(database_url)
    marks = []
    with early, late:
        early.execute("BEGIN")
        events.append(early, [event()])
        events.append(late, [event()])  # A greater id, visible before the smaller one is.
        reader = threading.Thread(target=lambda: marks.append(events.settled_mark(connection)))
        reader.start()
        _wait_until_blocked(late)
        assert marks == []

        early.execute("COMMIT")
        reader.join(10)

    assert marks == [2]


def test_a_transaction_that_stays_open_holds_up_no_writer(database_url, connection, event):
    with database.connect(database_url) as forgotten, database.connect(database_url) as writer:
        forgotten.execute("BEGIN")
        events.append(forgotten, [event()])

        with pytest.raises(WritersBusy, match="still open"):
            events.settled_mark(connection)

        writer.execute("SET statement_timeout = '5s'")
        assert len(events.append(writer, [event()]).stored) == 1
        forgotten.execute("ROLLBACK")
    assert events.settled_mark(connection) == 2


def test_the_mark_counts_ids_that_were_drawn_and_given_up(database_url, connection, event):
    with database.connect(database_url) as writer:
        writer.execute("BEGIN")
        events.append(writer, [event()])
        writer.execute("ROLLBACK")
        assert events.settled_mark(connection) == 0
        events.append(writer, [event()])
    assert events.settled_mark(connection) == 2


def test_writing_goes_on_while_batches_are_marked(database_url, connection, event):
    """Every id is either at or below a mark that was read after it committed, or above it: none slips past."""
    stop = threading.Event()
    seen = set()

    def write():
        with database.connect(database_url) as own:
            while not stop.is_set():
                events.append(own, [event(event_id=str(uuid.uuid4())) for _ in range(5)])

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    mark, rounds = 0, 0
    while rounds < 100:
        settled = events.settled_mark(connection)
        rows = connection.execute("SELECT id FROM events WHERE id > %s AND id <= %s", (mark, settled)).fetchall()
        seen.update(row[0] for row in rows)
        mark, rounds = settled, rounds + 1
    stop.set()
    for writer in writers:
        writer.join()

    assert seen == {row[0] for row in connection.execute("SELECT id FROM events WHERE id <= %s", (mark,)).fetchall()}
    assert len(seen) > 100


def _wait_until_blocked(observer):
    deadline = time.monotonic() + 10
    query = (
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
        "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    )
    while observer.execute(query).fetchone() == (0,):
        assert time.monotonic() < deadline


def test_work_whose_commit_is_unknown_is_not_done_again(database_url):
    done = []

    def work(connection):
        done.append(connection.info.backend_pid)
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseUnavailable):
        database.run(database_url, work)
    assert len(done) == 1
    assert database.run(database_url, lambda connection: connection.info.backend_pid) != done[0]


def test_a_database_of_a_newer_release_is_refused_each_time(database_url, connection):
    connection.execute("INSERT INTO schema_migrations (version, name) VALUES (9999, 'later')")
    for _ in range(2):
        with pytest.raises(SchemaTooNew):
            database.run(database_url, lambda connection: connection.execute("SELECT 1"))
