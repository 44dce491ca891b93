"""A receiver of webhooks for demos and tests: takes what is signed as it should be, each message once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """What was said: its id, its type, when it was told, and its data."""

    message_id: str
    type: str
    timestamp: str
    data: dict[str, Any]


class Receiver:
    """Listens on 127.0.0.1 from `with` on; what came lies in `messages`, in the order in which it came.

    It answers 204 to what is signed with *secret*, also when it comes again, and 400 to anything else, which it says to
    *on_refusal*. Where *keep* raises, the message is not taken, and comes again.
    """

    def __init__(
        self,
        secret: str,
        port: int = 0,
        keep: Callable[[Message], None] | None = None,
        on_refusal: Callable[[str], None] | None = None,
    ) -> None:
        self.messages: list[Message] = []
        self._signed, self._keep, self._on_refusal = Webhook(secret), keep, on_refusal
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="webhook-receiver", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, headers: dict[str, str], body: bytes) -> int:
        try:
            self._signed.verify(body, headers)
            said = json.loads(body)
            message = Message(headers["webhook-id"], said["type"], said["timestamp"], said["data"])
        except (WebhookVerificationError, ValueError, KeyError, TypeError) as error:
            if self._on_refusal:
                self._on_refusal(str(error) or type(error).__name__)
            return 400
        with self._lock:
            # At least once, the specification says: the id tells what came before.
            if message.message_id not in self._known:
                if self._keep:
                    self._keep(message)
                self._known.add(message.message_id)
                self.messages.append(message)
        return 204

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = self.headers.get("content-length", "")
                if not size.isdigit() or int(size) > MOST_BYTES:
                    self.send_error(413)
                    return
                body = self.rfile.read(int(size))
                self.send_response(take({name.lower(): value for name, value in self.headers.items()}, body))
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - so it is called above
                """What came is said by whoever keeps it."""

        return Handler
