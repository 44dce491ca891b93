import contextlib
import datetime as dt
import io
import socket
import threading
import uuid
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import AWSResponse

from storage import buckets as storage_buckets
from storage import settings
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


@pytest.fixture
def fault(buckets):
    """Let an operation of one side's bucket answer, or fail to, as told; `times` bounds how often."""
    registered = []

    def fault(side, operation, what, times=10**9):
        client = storage_buckets.client(settings.current().require_destination(side))
        left = [times]

        def instead(request, **_):
            if left[0] <= 0:
                return None
            left[0] -= 1
            if isinstance(what, Exception):
                raise what
            status, code = what
            # What is asked by HEAD has no body, so no code.
            body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode() if code else b""
            return AWSResponse(request.url, status, {}, _Raw(body))

        client.meta.events.register(f"before-send.s3.{operation}", instead)
        registered.append((client, operation, instead))

    def lift():
        while registered:
            client, operation, instead = registered.pop()
            client.meta.events.unregister(f"before-send.s3.{operation}", instead)

    fault.lift = lift
    yield fault
    lift()


class _Raw(io.BytesIO):
    def stream(self, amount=1024, **_):
        while data := self.read(amount):
            yield data


@pytest.fixture
def lossy_proxy():
    """Put a proxy in front of a server, that does to what is sent what networks do."""
    made = []

    def lossy_proxy(url):
        made.append(LossyProxy(url))
        return made[-1]

    yield lossy_proxy
    for one in made:
        one.close()


CHUNK = 16 * 1024


class LossyProxy:
    """A TCP proxy in front of a server, that does to what is sent what networks do.

    It passes everything on until `harm` is set; then harms what is put.

    `cut` ends the connection after so many bytes, `damage` alters the byte at that place, `hang` passes nothing on any
    more and leaves the connection open.
    """

    def __init__(self, upstream_url):
        parts = urlsplit(upstream_url)
        self._upstream = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.harm, self.after = None, 0
        self.harmed = 0
        self._mended = threading.Event()
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, harm, after=0):
        self.harm, self.after = harm, after
        if harm is None:
            self._mended.set()

    def close(self):
        self._mended.set()
        self._listener.close()
        for one in self._open:
            one.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._upstream)
                self._open += [client, server]
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source, target, is_request):
        seen, harming = 0, False
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if is_request and self.harm and (harming or data.startswith(b"PUT")):
                    seen, harming, before = seen + len(data), True, seen
                    if seen > self.after:
                        self.harmed += 1
                        at = self.after - before
                        if self.harm == "hang":
                            self._mended.wait(60)
                            break
                        if self.harm == "cut":
                            target.sendall(data[:at])
                            break
                        data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                        seen, harming = -(10**12), False
                elif is_request:
                    seen, harming = 0, False
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
