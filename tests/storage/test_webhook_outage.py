"""The operator's endpoint is down for a day: everything arrives after it, once, signed, and of each site in its order."""

import datetime as dt
import json
import random

import pytest

from services.receiver import Receiver
from storage import discovery, settings, webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def clock(connection):
    """Let so much time go by: all that was, was so much earlier."""

    def clock(time):
        for table, columns in {
            "webhook_messages": ("created_at", "next_at", "delivered_at", "given_up_at"),
            "events": ("created_at",),
            "sites": ("first_seen_at", "last_seen_at", "told_at", "confirmed_at"),
        }.items():
            for column in columns:
                connection.execute(f"UPDATE {table} SET {column} = {column} - %s::interval", (time,))
        connection.execute(
            """
            UPDATE sites SET sessions = coalesce(
                (SELECT jsonb_object_agg(key, value::float8 - %s) FROM jsonb_each_text(sessions)), '{}')
            """,
            (time.total_seconds(),),
        )

    return clock


def visit(connection, site_id, sessions):
    connection.execute(
        """
        INSERT INTO events (event_type, session_id, site_id, timestamp, raw_event_data, sender_agrees)
        SELECT 'page_view', 'session-' || n, %s, now(), '{}', true FROM generate_series(1, %s) n
        """,
        (site_id, sessions),
    )


def test_a_receiver_that_was_down_for_a_day_gets_everything_in_order(connection, environ, clock):
    environ["WEBHOOK_SECRET"] = SECRET
    environ["SITES"] = json.dumps({f"site{n}.example.com": {"quota_events": 20} for n in range(0, 12, 3)})
    chance = random.Random(24)
    with Receiver(SECRET) as receiver:
        port = int(receiver.url.rstrip("/").rpartition(":")[2])
    environ["WEBHOOK_URL"] = f"http://127.0.0.1:{port}/"

    def an_hour(number):
        for site in range(12):
            if number >= site and chance.random() < 0.7:
                visit(connection, f"site{site}.example.com", 1 + number % 4)
        discovery.discover(connection, settings.current())
        # Each minute of the hour, as the schedule has it, but for those in which nothing can be due.
        outcomes = []
        for part in (dt.timedelta(), dt.timedelta(minutes=6), dt.timedelta(minutes=24), dt.timedelta(minutes=30)):
            clock(part)
            outcomes.append(webhooks.send_due(connection, settings.current()))
        return outcomes

    for number in range(24):
        assert all(outcome["sent"] == 0 for outcome in an_hour(number))
    waiting = connection.execute("SELECT count(*), count(given_up_at) FROM webhook_messages").fetchone()
    assert waiting[0] > 30
    assert waiting[1] == 0

    with Receiver(SECRET, port) as receiver:
        for number in range(24, 48):
            an_hour(number)
        told = connection.execute(
            "SELECT message_id, about, delivered_at IS NOT NULL FROM webhook_messages ORDER BY sequence"
        ).fetchall()
        # Nothing is asked of it that was not signed, nothing came twice, and nothing is missing.
        assert sorted(one.message_id for one in receiver.messages) == sorted(row[0] for row in told)
        assert all(row[2] for row in told)
        arrived = {message.message_id: place for place, message in enumerate(receiver.messages)}
        for about in {row[1] for row in told}:
            places = [arrived[message_id] for message_id, of, _ in told if of == about]
            assert places == sorted(places), about
        for site in range(12):
            kinds = [one.type for one in receiver.messages if one.data.get("site_id") == f"site{site}.example.com"]
            assert kinds == ["site.discovered", "site.confirmed"]
        assert {one.type for one in receiver.messages} == {"site.discovered", "site.confirmed", "usage.quota_reached"}


def test_what_is_not_signed_as_it_should_be_is_not_taken(connection, environ):
    refused = []
    with Receiver("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", on_refusal=refused.append) as receiver:
        environ["WEBHOOK_SECRET"], environ["WEBHOOK_URL"] = SECRET, receiver.url
        webhooks.tell(connection, "export.delayed", {"destination": "client"})
        assert webhooks.send_due(connection, settings.current()) == {"sent": 0, "failed": 1}
        assert (receiver.messages, len(refused)) == ([], 1)


def test_what_a_receiver_cannot_keep_comes_again_and_what_it_has_is_kept_once(connection, environ):
    kept = []

    def keep(message):
        if not kept:
            kept.append("first try")
            raise OSError("the disk is full")
        kept.append(message.message_id)

    with Receiver(SECRET, keep=keep) as receiver:
        environ["WEBHOOK_SECRET"], environ["WEBHOOK_URL"] = SECRET, receiver.url
        message_id = webhooks.tell(connection, "export.delayed", {"destination": "client"})
        for _ in range(3):
            webhooks.send_due(connection, settings.current())
            webhooks.replay(connection, message_id)
        assert kept == ["first try", message_id]
        assert [one.message_id for one in receiver.messages] == [message_id]
