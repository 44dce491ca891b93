"""Records of a batch event, as Lambda makes them of the messages of an SQS queue.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from emulator import intrinsics
from emulator.messages import Message


def of_message(message: Message, queue: str) -> bytes:
    """The record of one message of *queue*."""
    sent_ms, first_received_ms = int(message.sent_at * 1000), int(message.first_received_at * 1000)
    return orjson.dumps(
        {
            "messageId": message.message_id,
            "receiptHandle": f"{message.message_id}#{message.receives}",
            "body": message.body,
            "messageAttributes": {name: _attribute(value) for name, value in message.attributes.items()},
            "md5OfBody": hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest(),
            **origin(queue, sent_ms, first_received_ms, message.receives),
        }
    )


def origin(queue: str, sent_ms: int, first_received_ms: int, receives: int) -> dict[str, Any]:
    """What a record says of its queue and of its way through it."""
    return {
        "attributes": {
            "ApproximateReceiveCount": str(receives),
            "SentTimestamp": str(sent_ms),
            "SenderId": intrinsics.ACCOUNT_ID,
            "ApproximateFirstReceiveTimestamp": str(first_received_ms),
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": intrinsics.queue_arn(queue),
        "awsRegion": intrinsics.PSEUDO_PARAMETERS["AWS::Region"],
    }


def event(records: list[bytes]) -> bytes:
    """The batch event of *records*."""
    return b'{"Records":[' + b",".join(records) + b"]}"


def _attribute(value: Any) -> dict[str, Any]:
    kind = "String" if isinstance(value, str) else "Number"
    return {"stringValue": str(value), "stringListValues": [], "binaryListValues": [], "dataType": kind}
