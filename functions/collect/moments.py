"""Client times, read with suspicion: a clock that is wrong must not put an event out of reach."""

from __future__ import annotations

import datetime as dt

EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
AHEAD = dt.timedelta(days=1)

# An epoch by its magnitude: seconds, milliseconds, microseconds, nanoseconds.
EPOCH_UNITS = ((1e11, 1), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))


def read(value: object, received: dt.datetime) -> dt.datetime:
    """The moment that a client claims, or *received* where it claims none that can be true.

    RFC 3339, or an epoch in s, ms, µs or ns. A time without a zone is UTC. True can be what lies between the year
    2000 and a day from now; the claim itself stays in `raw_event_data`.
    """
    moment = _parse(value)
    return moment if moment and EARLIEST <= moment <= received + AHEAD else received


def _parse(value: object) -> dt.datetime | None:
    try:
        if isinstance(value, str):
            moment = dt.datetime.fromisoformat(value)
            return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            for limit, unit in EPOCH_UNITS:
                if 0 < value < limit:
                    return dt.datetime.fromtimestamp(value / unit, dt.UTC)
    except (ValueError, OverflowError):
        pass
    return None
