import datetime as dt
import uuid

import pytest

from storage.events import Event


@pytest.fixture
def event():
    """Make an event; what a test does not care about is filled in."""

    def event(**fields):
        plain = {
            "event_id": str(uuid.uuid4()),
            "event_type": "page_view",
            "session_id": "session-1",
            "visitor_id": "visitor-1",
            "site_id": "shop.example.com",
            "timestamp": dt.datetime.now(dt.UTC),
            "url": "https://shop.example.com/p",
            "path": "/p",
            "user_agent": "Browser/1",
            "ip_address": "203.0.113.0",
            "raw_event_data": {"event_type": "page_view"},
        }
        return Event(**{**plain, **fields})

    return event


@pytest.fixture
def many(connection):
    """Store many events at once, over three sites and a hundred visitors, in an hour of the past."""

    def many(rows, arrived="2026-11-23 10:15:00+00"):
        connection.execute(
            """
            INSERT INTO events (event_type, session_id, visitor_id, site_id, timestamp, url, path, raw_event_data, created_at)
            SELECT 'page_view', 'session-' || n %% 300, 'visitor-' || n %% 100, 'site' || n %% 3 || '.example',
                   %(arrived)s::timestamptz, 'https://site.example/' || n, '/' || n,
                   jsonb_build_object('n', n, 'noise', md5(n::text) || md5((n * 7)::text)), %(arrived)s
              FROM generate_series(1, %(rows)s) n
            """,
            {"rows": rows, "arrived": arrived},
        )

    return many
