"""The queue in which beacons wait for the database, where more come at once than it has connections: AWS SQS."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

LOGGER = logging.getLogger(__name__)

# A message with its attributes (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html).
MOST_BYTES = 1_048_576


def put(queue_url: str, body: bytes, attributes: Mapping[str, str]) -> bool:
    """Whether a beacon is in the queue now, in several places at once, as SQS keeps it; False where it cannot be.

    The body is written in base64, as whatever comes is no valid text always; the attribute `is-base64` says so. An empty
    attribute is left out. Whoever gets False stores the beacon himself.
    """
    text = base64.b64encode(body).decode()
    given = {name: value for name, value in {**attributes, "is-base64": "true"}.items() if value}
    # A lone half of a character is four bytes at most, and refused by SQS.
    if (
        len(text) + sum(len(name) + len(value.encode(errors="surrogatepass")) for name, value in given.items())
        > MOST_BYTES
    ):
        return False
    return _send(queue_url, text, {name: {"DataType": "String", "StringValue": value} for name, value in given.items()})


def _send(queue_url: str, text: str, attributes: dict[str, Any]) -> bool:
    # It takes a third of a second to load, and is loaded where there is a queue alone.
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        # An empty body is none that SQS takes; a beacon that asks not to be tracked has none.
        _client().send_message(QueueUrl=queue_url, MessageBody=text or "-", MessageAttributes=attributes)
    except (BotoCoreError, ClientError, UnicodeError) as error:
        LOGGER.warning("a beacon could not be queued, and is stored at once: %s", error)
        return False
    return True


@lru_cache(maxsize=1)
def _client() -> Any:
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    # A visitor waits for it.
    return boto3.client("sqs", config=Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2}))
