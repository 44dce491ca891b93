"""The doors of the functions: routes, the admin token, and one JSON shape for every error."""

from chalice.app import Response

from httpapi.api import Api, ApiError, answer, clock

__all__ = ["Api", "ApiError", "Response", "answer", "clock"]
