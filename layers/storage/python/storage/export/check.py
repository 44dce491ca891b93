"""Whether a bucket can be delivered to: each right that an export needs is used once, and what is missing has a name."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from storage import objects
from storage.buckets import client, code, explain
from storage.destination import Destination
from storage.errors import DeliveryFailed
from storage.objects import Body
from storage.settings import Settings

CONTENT = b"A test of the connection; it may be removed.\n"


@dataclass(frozen=True, slots=True)
class Right:
    """Something that an export does in a bucket: whether it may, and if not, what the bucket said and what mends it."""

    name: str
    granted: bool
    problem: str | None = None


def run(settings: Settings, name: str) -> dict[str, Any]:
    """Try the destination *name* out; what was written for that is removed again.

    Raises:
        SettingsInvalid: there is no such destination.
    """
    destination = settings.require_destination(name)
    rights = list(rights_in(destination))
    return {
        "destination": name,
        "bucket": destination.bucket,
        "rights": [asdict(right) for right in rights],
        "usable": all(right.granted for right in rights),
        "clock_skew_seconds": _clock_skew(destination),
    }


def _clock_skew(destination: Destination) -> float | None:
    """By how much the bucket's clock is ahead of this machine's, to the second; None where it does not say."""
    try:
        answer: Any = client(destination).list_objects_v2(Bucket=destination.bucket, MaxKeys=1)
    except ClientError as error:
        answer = error.response
    except (BotoCoreError, ValueError):
        return None
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return (parsedate_to_datetime(said) - dt.datetime.now(dt.UTC)).total_seconds() if said else None


def rights_in(destination: Destination) -> Iterator[Right]:
    """Each right in turn. A bucket that is not there or not reached ends it: about the others nothing can be said."""
    key = f"{destination.prefix}/check/{uuid4().hex}"
    body = Body.of(CONTENT, "text/plain")
    listed = _try(destination, "s3:ListBucket", lambda: objects.keys(destination, f"{destination.prefix}/check/"))
    yield listed
    if not listed.granted and not _denied(listed.problem or ""):
        return
    # What an erasure does: no older version and no half of an upload may keep what was erased.
    versions = _try(destination, "s3:ListBucketVersions", lambda: objects.versions(destination, key))
    yield versions
    yield _try(destination, "s3:ListBucketMultipartUploads", lambda: objects.uploads(destination, key))
    wrote = _try(destination, "s3:PutObject", lambda: objects.write(destination, key, body, 0))
    yield wrote
    if wrote.granted:
        yield _try(destination, "s3:GetObject", lambda: _read(destination, key))
        yield _try(destination, "conditional writes", lambda: _write_over(destination, key, body))
        yield _try(destination, "s3:AbortMultipartUpload", lambda: _begin_and_abort(destination, key))
        yield _try(destination, "s3:DeleteObject", lambda: objects.remove(destination, key))
        if versions.granted:
            yield _try(
                destination, "s3:DeleteObjectVersion", lambda: _write_and_remove_versions(destination, key, body)
            )


def _try(destination: Destination, name: str, work: Callable[[], object]) -> Right:
    try:
        work()
    except DeliveryFailed as error:
        return Right(name, False, _with_remedy(destination, name, str(error)))
    except (BotoCoreError, ClientError, ValueError) as error:
        return Right(name, False, _with_remedy(destination, name, explain(destination, error)))
    return Right(name, True)


def _with_remedy(destination: Destination, name: str, problem: str) -> str:
    where = "" if name.startswith("s3:ListBucket") else f"/{destination.prefix}/*"
    return f"{problem}; it takes {name} on arn:aws:s3:::{destination.bucket}{where}" if _denied(problem) else problem


def _denied(problem: str) -> bool:
    return "(AccessDenied)" in problem or "(403)" in problem


def _read(destination: Destination, key: str) -> None:
    if objects.read(destination, key, io.BytesIO()) != hashlib.sha256(CONTENT).hexdigest():
        raise DeliveryFailed("what was written is not what is read back; look at what stands between")


def _write_over(destination: Destination, key: str, body: Body) -> None:
    try:
        objects.write(destination, key, body, 0, IfNoneMatch="*")
    except ClientError as error:
        if code(error) in ("PreconditionFailed", "412"):
            return
        raise
    raise DeliveryFailed(
        "an object was written over although the request said not to; two exporters at once could do so too"
    )


def _write_and_remove_versions(destination: Destination, key: str, body: Body) -> None:
    objects.write(destination, key, body, 0)
    for version in objects.versions(destination, key):
        objects.remove(destination, key, version.version_id)


def _begin_and_abort(destination: Destination, key: str) -> None:
    s3 = client(destination)
    upload = s3.create_multipart_upload(Bucket=destination.bucket, Key=key)["UploadId"]
    s3.abort_multipart_upload(Bucket=destination.bucket, Key=key, UploadId=upload)
