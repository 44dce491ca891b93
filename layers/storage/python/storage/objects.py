"""The one place that speaks S3: verified writes into a destination."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import IO, TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from storage.errors import DeliveryFailed
from storage.settings import Destination

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# What each refusal means to whoever has to mend it.
REMEDIES = {
    "AccessDenied": "the credentials may not do this; grant s3:PutObject and s3:GetObject on the prefix",
    "403": "the credentials may not read the object back; grant s3:GetObject on the prefix",
    "NoSuchBucket": "the bucket does not exist; make it, or mend its name",
    "InvalidAccessKeyId": "the access key is unknown; set the current one",
    "SignatureDoesNotMatch": "the secret key does not fit the access key; set both anew",
    "ExpiredToken": "the credentials have expired; set new ones",
    "PermanentRedirect": "the bucket lies in another region; set its region",
}


@lru_cache(maxsize=8)
def _client(destination: Destination) -> S3Client:
    # Raises a BotoCoreError or ValueError for a region, endpoint or profile that is none.
    return boto3.client(
        "s3",
        region_name=destination.region,
        endpoint_url=destination.endpoint_url,
        aws_access_key_id=destination.access_key.get_secret_value() if destination.access_key else None,
        aws_secret_access_key=destination.secret_key.get_secret_value() if destination.secret_key else None,
        config=Config(
            signature_version="s3v4",
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "max_attempts": 4},
            # Endpoints of one's own seldom answer to bucket.host names.
            s3={"addressing_style": "path" if destination.endpoint_url else "auto"},
        ),
    )


def put(
    destination: Destination, key: str, body: IO[bytes] | bytes, size: int, sha256: bytes, content_type: str
) -> None:
    """Write an object and read back that the bucket holds exactly these bytes.

    S3 itself refuses a body that does not have the checksum, so an object is there whole or not at all; writing it
    again under the same key changes nothing.

    Raises:
        DeliveryFailed: the bucket refused, cannot be reached, or holds something else.
    """
    checksum = base64.b64encode(sha256).decode()
    try:
        client = _client(destination)
        client.put_object(
            Bucket=destination.bucket,
            Key=key,
            Body=body,
            ContentLength=size,
            ContentType=content_type,
            ChecksumSHA256=checksum,
        )
        held = client.head_object(Bucket=destination.bucket, Key=key, ChecksumMode="ENABLED")
    except (BotoCoreError, ClientError, ValueError) as error:
        raise DeliveryFailed(explain(destination, error)) from error
    if held["ContentLength"] != size or held.get("ChecksumSHA256", checksum) != checksum:
        raise DeliveryFailed(
            f"{destination.name} bucket {destination.bucket} holds other bytes under {key} than were sent"
        )


def exists(destination: Destination, key: str) -> bool:
    """Whether an object lies under *key*.

    Raises:
        DeliveryFailed: the bucket cannot be asked.
    """
    try:
        _client(destination).head_object(Bucket=destination.bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket"):
            return False
        raise DeliveryFailed(explain(destination, error)) from error
    except (BotoCoreError, ValueError) as error:
        raise DeliveryFailed(explain(destination, error)) from error
    return True


def make_bucket(destination: Destination) -> None:
    """Make the bucket unless it is there.

    Raises:
        DeliveryFailed: the endpoint refuses.
    """
    try:
        client = _client(destination)
        if destination.region == "us-east-1":
            client.create_bucket(Bucket=destination.bucket)
        else:
            # boto3 types the region as one of AWS's; S3-compatible servers have others.
            client.create_bucket(
                Bucket=destination.bucket,
                CreateBucketConfiguration={"LocationConstraint": destination.region},  # type: ignore[typeddict-item]
            )
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise DeliveryFailed(explain(destination, error)) from error
    except (BotoCoreError, ValueError) as error:
        raise DeliveryFailed(explain(destination, error)) from error


def explain(destination: Destination, error: BotoCoreError | ClientError | ValueError) -> str:
    """One line that says what a bucket did and what to do about it."""
    where = f"{destination.name} bucket {destination.bucket}"
    if isinstance(error, ClientError):
        code = error.response["Error"].get("Code", "")
        remedy = REMEDIES.get(code, error.response["Error"].get("Message") or "try again later")
        return f"{where} refused {error.operation_name} ({code}): {remedy}"
    return f"{where} cannot be reached: {' '.join(str(error).split())}"
