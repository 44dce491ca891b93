"""A collector as one writes it with FastAPI and asyncpg: it parses, inserts, commits and answers; it checks nothing.

No validation, no redaction, no de-duplication: whatever of these it had would only make it slower.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from fastapi import FastAPI, Request

INSERT = """
    INSERT INTO events_original (event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent,
                                 ip_address, raw_event_data)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep a pool of connections while the application runs."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=5, max_size=10) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/collect", status_code=202)
async def collect(request: Request) -> dict[str, int]:
    """Store the events of one beacon."""
    beacon = await request.json()
    client = request.client.host if request.client else None
    rows = [row(beacon, event, request.headers.get("user-agent"), client) for event in beacon["events"]]
    async with app.state.pool.acquire() as connection:
        if len(rows) == 1:
            await connection.execute(INSERT, *rows[0])
        else:
            await connection.executemany(INSERT, rows)
    return {"accepted": len(rows)}


def row(beacon: dict[str, Any], event: dict[str, Any], user_agent: str | None, client: str | None) -> tuple[Any, ...]:
    """The columns of one event."""
    url = urlsplit(event["url"])
    return (
        event["event_id"],
        event["event_type"],
        beacon["session_id"],
        beacon["visitor_id"],
        beacon["site_id"] or url.hostname,
        dt.datetime.fromisoformat(event["timestamp"]),
        event["url"],
        url.path,
        user_agent,
        client,
        json.dumps(event),
    )
