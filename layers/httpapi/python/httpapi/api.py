"""A function's door: HTTP routes by Chalice, schedules and queues beside them, behind one handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import orjson
from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit
from chalice.app import Chalice, Request, Response

from httpapi.payload import version_1
from storage import access, settings
from storage.errors import (
    DatabaseUnavailable,
    ErasureUnknown,
    ExportRunning,
    SchemaTooNew,
    SettingsInvalid,
    StorageError,
    WritersBusy,
)

Headers = Mapping[str, str]
View = Callable[..., Response]
Event = dict[str, Any]

# What each failure of the storage layer is to a client: status, code, headers.
STORAGE_ERRORS: dict[type[StorageError], tuple[int, str, Headers]] = {
    DatabaseUnavailable: (503, "database_unavailable", {"Retry-After": "5"}),
    ErasureUnknown: (404, "erasure_unknown", {}),
    ExportRunning: (409, "export_running", {"Retry-After": "30"}),
    WritersBusy: (503, "writers_busy", {"Retry-After": "5"}),
    SchemaTooNew: (503, "schema_too_new", {"Retry-After": "60"}),
    SettingsInvalid: (500, "settings_invalid", {}),
}

# Chalice's own refusals, in our words.
CHALICE_CODES = {
    "UnsupportedMediaType": "unsupported_media_type",
    "MethodNotAllowedError": "method_not_allowed",
    "InternalServerError": "internal_error",
}


class ApiError(Exception):
    """A request that is answered with an error, which says what is wrong and how to mend it."""

    def __init__(self, status: int, code: str, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


# What is begun is given this long; what is left after it goes on in the next run.
LEAST_MILLISECONDS = 120_000


def clock(context: Any) -> Callable[[], bool]:
    """Whether an invocation has the time to begin something more; always where nobody counts."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return (lambda: remaining() > LEAST_MILLISECONDS) if remaining else (lambda: True)


def answer(body: object, status: int = 200, headers: Headers | None = None) -> Response:
    """*body* as JSON, with times in RFC 3339 UTC; None is an empty body."""
    text = "" if body is None else orjson.dumps(body, option=orjson.OPT_UTC_Z).decode()
    kind = {} if body is None else {"Content-Type": "application/json"}
    return Response(text, status_code=status, headers={"Cache-Control": "no-store", **kind, **(headers or {})})


class Api:
    """One function's door: register views with `route`, `schedule` and `queue`, then export `handler`."""

    def __init__(self, name: str) -> None:
        self.logger = Logger(service=name)
        # Written to the log, where CloudWatch reads them on AWS and the runtime on a machine of one's own.
        self._metrics = Metrics(namespace="Evothesis", service=name)
        self._measured = False
        # Method and path of what anybody may ask.
        self.public: set[tuple[str, str]] = set()
        self.app = Chalice(app_name=name, configure_logs=False)
        self.app.register_middleware(_in_our_words, "http")
        self._schedule: Callable[[Event, Any], object] | None = None
        self._queue: Callable[[list[Event]], object] | None = None

    @property
    def request(self) -> Request:
        """The HTTP request that is being answered."""
        request = self.app.current_request
        assert request is not None, "there is a request only while a view answers it"
        return request

    def route(
        self, path: str, method: str, *, public: bool = False, content_types: tuple[str, ...] = ("application/json",)
    ) -> Callable[[View], View]:
        """Answer *method* on *path* with the decorated view; without `public` only to the admin's token."""

        def register(view: View) -> View:
            @wraps(view)
            def door(**arguments: str) -> Response:
                try:
                    if not public:
                        self._admit()
                    return view(**arguments)
                except ApiError as error:
                    return _refusal(error)
                except StorageError as error:
                    self.logger.warning("storage_error", error=str(error), kind=type(error).__name__)
                    return _refusal(_from_storage(error))
                except Exception:
                    self.logger.exception("unhandled_error")
                    return _refusal(ApiError(500, "internal_error", "this is our fault; the log has it by request id"))

            if public:
                self.public.add((method, path))
            self.app.route(path, methods=[method], content_types=list(content_types))(door)
            return view

        return register

    def schedule(self, view: Callable[[Event, Any], object]) -> Callable[[Event, Any], object]:
        """Answer schedule events with the decorated function, called with the event and the Lambda context."""
        self._schedule = view
        return view

    def queue(self, view: Callable[[list[Event]], object]) -> Callable[[list[Event]], object]:
        """Answer batches of SQS records with the decorated function, called with the records."""
        self._queue = view
        return view

    def count(self, **numbers: int) -> None:
        """Add to counters, each under its name in CamelCase."""
        for name, number in numbers.items():
            if number:
                self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=number)
                self._measured = True

    def measure(self, **seconds: float) -> None:
        """Say how things stand, in seconds, each under its name in CamelCase."""
        for name, value in seconds.items():
            self._metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=value)
            self._measured = True

    def level(self, **numbers: float) -> None:
        """Say how many or how much there is now, each under its name in CamelCase."""
        for name, value in numbers.items():
            self._metrics.add_metric(name=name, unit=MetricUnit.NoUnit, value=value)
            self._measured = True

    def handler(self, event: Event, context: Any) -> Any:
        """The Lambda handler: tells by its shape what *event* is."""
        self.logger.append_keys(request_id=getattr(context, "aws_request_id", None))
        try:
            return self._handle(event, context)
        finally:
            if self._measured:
                self._metrics.flush_metrics()
                self._measured = False

    def _handle(self, event: Event, context: Any) -> Any:
        if "http" in event.get("requestContext", {}):
            event = version_1(event)
        if "httpMethod" in event.get("requestContext", {}):
            return self.app(event, context)
        if self._queue and "Records" in event:
            return self._queue(event["Records"])
        if self._schedule:
            return self._schedule(event, context)
        raise ValueError("this function takes no such event; events/ has samples of those that it takes")

    def _admit(self) -> None:
        scheme, _, token = self.request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not access.is_admin(settings.current(), token.strip()):
            raise ApiError(
                401,
                "unauthorized",
                "send the admin token as `Authorization: Bearer <token>`",
                {"WWW-Authenticate": 'Bearer realm="evothesis"'},
            )


def _from_storage(error: StorageError) -> ApiError:
    status, code, headers = STORAGE_ERRORS.get(type(error), (500, "storage_error", {}))
    return ApiError(status, code, str(error), headers)


def _refusal(error: ApiError) -> Response:
    return answer({"error": {"code": error.code, "message": error.message}}, error.status, error.headers)


def _in_our_words(event: Any, get_response: Callable[[Any], Response]) -> Response:
    """Give Chalice's own refusals the shape that all our errors have, without their echo of the input."""
    response = get_response(event)
    if isinstance(response.body, dict) and response.body.keys() == {"Code", "Message"}:
        code = CHALICE_CODES.get(response.body["Code"], "bad_request")
        message = {
            "unsupported_media_type": "send application/json or text/plain",
            "method_not_allowed": "this path does not answer to this method",
            "internal_error": "this is our fault; the log has it by request id",
        }.get(code, "the request cannot be answered")
        return answer({"error": {"code": code, "message": message}}, response.status_code)
    return response
