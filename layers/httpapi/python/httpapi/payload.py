"""An HTTP API event of payload format 2.0 as the one of format 1.0 that Chalice reads.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from urllib.parse import parse_qsl

Event = dict[str, Any]


def version_1(event: Event) -> Event:
    """*event*, a request in payload format 2.0, in payload format 1.0."""
    context, http = event["requestContext"], event["requestContext"]["http"]
    # A request that came by the API's default route says only by its path what it asks for.
    _, _, resource = event["routeKey"].rpartition(" ")
    resource = event["rawPath"] if resource == "$default" else resource
    headers = {name.lower(): value for name, value in event["headers"].items()}
    if event.get("cookies"):
        headers["cookie"] = "; ".join(event["cookies"])
    query: dict[str, list[str]] = defaultdict(list)
    for name, value in parse_qsl(event["rawQueryString"], keep_blank_values=True):
        query[name].append(value)
    return {
        "version": "1.0",
        "resource": resource,
        "path": event["rawPath"],
        "httpMethod": http["method"],
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": dict(query) or None,
        "requestContext": {
            **context,
            "httpMethod": http["method"],
            "path": event["rawPath"],
            "protocol": http["protocol"],
            "resourcePath": resource,
            "identity": {"sourceIp": http["sourceIp"], "userAgent": http["userAgent"]},
        },
        "pathParameters": event.get("pathParameters"),
        "stageVariables": event.get("stageVariables"),
        "body": event.get("body"),
        "isBase64Encoded": event.get("isBase64Encoded", False),
    }
