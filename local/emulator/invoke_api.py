"""Lambda's Invoke API, and /metrics: what programs on this machine ask the runtime, apart from the public front.

It listens on loopback and checks no signature. It wants to see one, though, which a page in a browser cannot send.
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from emulator import intrinsics
from emulator.asynchronous import Asynchronous
from emulator.body import BodyTooLarge, Receive, Scope, Send, read_body, send_response
from emulator.errors import Throttled
from emulator.http_response import HttpResponse
from emulator.pool import Pool

INVOKE = re.compile(r"/2015-03-31/functions/(?P<name>[^/]+)/invocations")
# A name, a part of an ARN or a whole one, each with a qualifier behind it or not.
FUNCTION_NAME = re.compile(
    r"(?:(?:arn:aws[a-z-]*:lambda:[a-z0-9-]+:)?\d{12}:function:)?(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>[$\w-]+))?"
)

logger = logging.getLogger("emulator")

SYNCHRONOUS_BYTES = 6_291_456
ASYNCHRONOUS_BYTES = 1_048_576


class Refused(Exception):
    """A call that is answered with an error of the API: status, type, members of the body."""

    def __init__(self, status: int, kind: str, **body: str) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind
        self.body = body


class InvokeApi:
    """An ASGI application."""

    def __init__(self, pools: Mapping[str, Pool], asynchronous: Asynchronous) -> None:
        self._pools = pools
        self._asynchronous = asynchronous
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closed = False

    def close(self) -> None:
        """Take no further invocation."""
        self._closed = True

    async def drain(self) -> None:
        """Wait for the answers of those that were taken."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_id = str(uuid.uuid4())
        try:
            response = await self._answer(scope, receive, request_id)
        except Refused as error:
            body = json.dumps(error.body).encode()
            response = _response(error.status, body, {"x-amzn-errortype": error.kind})
        except Exception:
            logger.exception("an invocation could not be taken")
            body = json.dumps(
                {"Message": "the runtime could not take it; its log says why", "Type": "Service"}
            ).encode()
            response = _response(500, body, {"x-amzn-errortype": "ServiceException"})
        if response:
            headers = (*response.headers, ("x-amzn-requestid", request_id))
            await send_response(send, HttpResponse(response.status, headers, response.body))

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> HttpResponse | None:
        if scope["method"] == "GET" and scope["path"] == "/metrics":
            return HttpResponse(200, (("content-type", CONTENT_TYPE_LATEST),), generate_latest())
        match = INVOKE.fullmatch(scope["path"])
        if scope["method"] != "POST" or not match:
            raise Refused(404, "UnknownOperationException", Message="the Invoke API and /metrics are all that is here")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if not headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            raise Refused(403, "MissingAuthenticationTokenException", message="Missing Authentication Token")
        if self._closed:
            raise Refused(503, "ServiceUnavailableException", Message="the runtime is stopping", Type="Service")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        pool, qualifier = self._find(match["name"], query.get("Qualifier", [None])[-1])
        kind = headers.get("x-amz-invocation-type", "RequestResponse")
        payload = await _payload(receive, kind)
        if payload is None:
            return None
        if kind == "DryRun":
            return _response(204)
        if kind == "Event":
            self._asynchronous.accept(pool.function.name, payload, request_id)
            return _response(202)
        invocation = asyncio.ensure_future(self._invoke(pool, payload, request_id, qualifier, headers))
        self._under_way.add(invocation)
        invocation.add_done_callback(self._under_way.discard)
        return await invocation

    def _find(self, name: str, qualifier: str | None) -> tuple[Pool, str | None]:
        match = FUNCTION_NAME.fullmatch(name)
        if not match:
            raise Refused(400, "ValidationException", message="the name of the function is not valid")
        qualifier = match["qualifier"] or qualifier
        if match["name"] not in self._pools or qualifier not in (None, "$LATEST"):
            whole = intrinsics.arn(match["name"]) + (f":{qualifier}" if qualifier else "")
            raise Refused(404, "ResourceNotFoundException", Message=f"Function not found: {whole}", Type="User")
        return self._pools[match["name"]], qualifier

    async def _invoke(
        self, pool: Pool, payload: bytes, request_id: str, qualifier: str | None, headers: Mapping[str, str]
    ) -> HttpResponse:
        context = _client_context(headers.get("x-amz-client-context"))
        try:
            result = await pool.invoke(
                payload, request_id=request_id, client_context=context, qualifier=qualifier, patient=False
            )
        except Throttled:
            reserved = pool.function.concurrency is not None
            reason = (
                "ReservedFunctionConcurrentInvocationLimitExceeded" if reserved else "ConcurrentInvocationLimitExceeded"
            )
            raise Refused(
                429, "TooManyRequestsException", Reason=reason, Type="User", message="Rate Exceeded."
            ) from None
        said = {"x-amz-executed-version": "$LATEST"}
        if result.error_type:
            said["x-amz-function-error"] = "Unhandled"
        if headers.get("x-amz-log-type") == "Tail":
            said["x-amz-log-result"] = base64.b64encode(result.log_tail).decode()
        return _response(200, result.payload, said)


async def _payload(receive: Receive, kind: str) -> bytes | None:
    """The event; None when the caller went away."""
    if kind not in ("RequestResponse", "Event", "DryRun"):
        raise Refused(400, "InvalidParameterValueException", message=f"{kind[:64]!r} is no invocation type")
    most = ASYNCHRONOUS_BYTES if kind == "Event" else SYNCHRONOUS_BYTES
    try:
        body = await read_body(receive, most)
    except BodyTooLarge:
        text = f"Request must be smaller than {most} bytes for the InvokeFunction operation"
        raise Refused(413, "RequestTooLargeException", message=text, Type="User") from None
    if body is None:
        return None
    body = body or b"{}"
    try:
        json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        text = f"Could not parse request body into json: Could not parse payload into json: {error}"
        raise Refused(400, "InvalidRequestContentException", message=text, Type="User") from None
    return body


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _client_context(encoded: str | None) -> str | None:
    if not encoded:
        return None
    try:
        text = base64.b64decode(encoded, validate=True).decode()
        return json.dumps(json.loads(text))
    except (binascii.Error, ValueError, RecursionError):
        raise Refused(
            400, "InvalidRequestContentException", message="Client context must be a valid Base64-encoded JSON object."
        ) from None


def _response(status: int, body: bytes = b"", headers: Mapping[str, Any] | None = None) -> HttpResponse:
    return HttpResponse(status, (("content-type", "application/json"), *(headers or {}).items()), body)
