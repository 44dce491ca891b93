"""Objects in a destination: written whole or not at all, never over another one, and verified."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from storage.buckets import client, code, explain
from storage.destination import Destination
from storage.errors import DeliveryFailed

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, HeadObjectOutputTypeDef

# A larger object goes in parts, each with a checksum of its own and sent again by itself; a smaller one costs less memory whole.
MULTIPART_BYTES = 256 * 1024 * 1024
PART_BYTES = 8 * 1024 * 1024

CHUNK_BYTES = 1024 * 1024
# What is smaller costs as much as this in any class but the standard one.
LEAST_BYTES_IN_A_CLASS = 128 * 1024

SHA256 = "evothesis-sha256"
FENCE = "evothesis-fence"


@dataclass(frozen=True, slots=True)
class Body:
    """What an object is to hold: a file at its start, its size and SHA-256."""

    file: IO[bytes]
    size: int
    sha256: bytes
    content_type: str

    @classmethod
    def of(cls, data: bytes, content_type: str) -> Body:
        """What is in memory already."""
        return cls(io.BytesIO(data), len(data), hashlib.sha256(data).digest(), content_type)


def put(destination: Destination, key: str, body: Body, fence: int) -> None:
    """Write an object and read back that the bucket holds exactly these bytes.

    Nothing is written over: where an object lies already, the same bytes are success, and other bytes are replaced only
    if an exporter with a lower *fence* left them, in an attempt that the ledger does not know as done. S3 itself refuses
    a body that does not have the checksum, so an object is there whole or not at all. Idempotent.

    Raises:
        DeliveryFailed: the bucket refused, cannot be reached, or holds something that is not ours to replace.
    """
    with _explained(destination):
        try:
            write(destination, key, body, fence, IfNoneMatch="*")
        except ClientError as error:
            if code(error) == "NotImplemented":
                # A server that knows no conditions: look first, which leaves a moment in which two could write.
                held = _look(destination, key)
                if held is None:
                    write(destination, key, body, fence)
            elif code(error) in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                held = _look(destination, key)
            else:
                raise
            if held and not _is(held, body):
                _replace(destination, key, body, fence, held)
        held = _look(destination, key)
    if held is None or not _is(held, body):
        raise DeliveryFailed(
            f"{destination.name} bucket {destination.bucket} holds other bytes under {key} than were sent"
        )


def replace(destination: Destination, key: str, body: Body, fence: int, before: str) -> None:
    """Write over the object that has the SHA-256 *before*, and read back that the bucket holds exactly these bytes.

    Idempotent: where these bytes lie already, that is success.

    Raises:
        DeliveryFailed: the bucket refused or cannot be reached, or holds something else.
    """
    with _explained(destination):
        held = _look(destination, key)
        if held is not None and not _is(held, body):
            if held["Metadata"].get(SHA256) != before:
                held = None
            else:
                write(destination, key, body, fence, IfMatch=held["ETag"])
                held = _look(destination, key)
    if held is None or not _is(held, body):
        raise DeliveryFailed(
            f"{destination.name} bucket {destination.bucket} holds other bytes under {key} than it was given; "
            f"`evothesis verify {destination.name}` says more"
        )


def purge(destination: Destination, key: str, *, keep: bool = True) -> int:
    """Remove every version of an object but the present one, which stays where it is to be kept, and what is left of uploads of it; gives how many went.

    Raises:
        DeliveryFailed: the bucket refused, as one does that locks its versions, or cannot be reached.
    """
    removed = 0
    # The mark of a removal goes last, or what it hides would be there again.
    for version in reversed(versions(destination, key)):
        if version.is_mark or not version.is_latest or not keep:
            remove(destination, key, version.version_id)
            removed += 1
    for upload_id in uploads(destination, key):
        with _explained(destination):
            client(destination).abort_multipart_upload(Bucket=destination.bucket, Key=key, UploadId=upload_id)
        removed += 1
    return removed


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an object, or the mark of a removal."""

    version_id: str
    is_latest: bool
    is_mark: bool


def versions(destination: Destination, key: str) -> list[Version]:
    """All that a bucket holds under a key, the present one first; in one that keeps no versions that is one at most.

    Raises:
        DeliveryFailed: the bucket cannot be asked.
    """
    found = [
        Version(item["VersionId"], item["IsLatest"], is_mark)
        for page in _listed(destination, "list_object_versions", key)
        for is_mark, items in ((False, page.get("Versions", [])), (True, page.get("DeleteMarkers", [])))
        for item in items
        # The prefix is that of longer keys too.
        if item["Key"] == key
    ]
    return sorted(found, key=lambda version: not version.is_latest)


def uploads(destination: Destination, key: str) -> list[str]:
    """The uploads in parts under a key that nobody ended.

    Raises:
        DeliveryFailed: the bucket cannot be asked.
    """
    pages = _listed(destination, "list_multipart_uploads", key)
    return [item["UploadId"] for page in pages for item in page.get("Uploads", []) if item["Key"] == key]


def keys(destination: Destination, prefix: str) -> list[str]:
    """Every key that begins with *prefix*, in order.

    Raises:
        DeliveryFailed: the bucket cannot be asked.
    """
    pages = _listed(destination, "list_objects_v2", prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def keys_of_versions(destination: Destination, prefix: str) -> list[str]:
    """Every key that begins with *prefix* and of which the bucket keeps any version, or the mark of a removal, in order.

    Raises:
        DeliveryFailed: the bucket cannot be asked.
    """
    pages = _listed(destination, "list_object_versions", prefix)
    found = {item["Key"] for page in pages for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))}
    return sorted(found)


def _listed(destination: Destination, operation: str, prefix: str) -> Iterator[dict[str, Any]]:
    """The pages of a listing of what begins with *prefix*."""
    with _explained(destination):
        paginator: Any = client(destination).get_paginator(operation)  # type: ignore[call-overload]
        yield from paginator.paginate(Bucket=destination.bucket, Prefix=prefix)


def read(destination: Destination, key: str, file: IO[bytes]) -> str | None:
    """Read an object into *file* and give its SHA-256, in hex; None if there is none.

    Raises:
        DeliveryFailed: the bucket cannot be asked, or stops in the middle.
    """
    digest = hashlib.sha256()
    with _explained(destination):
        try:
            body = client(destination).get_object(Bucket=destination.bucket, Key=key)["Body"]
        except ClientError as error:
            if _is_missing(destination, key, error):
                return None
            raise
        with closing(body):
            for chunk in body.iter_chunks(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
    file.seek(0)
    return digest.hexdigest()


def fetch(destination: Destination, key: str) -> tuple[bytes, int]:
    """A small object, and the fence of whoever wrote it; 0 for somebody else's.

    Raises:
        DeliveryFailed: the bucket cannot be asked, or has none under *key*.
    """
    with _explained(destination):
        answer = client(destination).get_object(Bucket=destination.bucket, Key=key)
        fence = answer["Metadata"].get(FENCE, "")
        with closing(answer["Body"]) as body:
            return body.read(), int(fence) if fence.isdigit() else 0


def exists(destination: Destination, key: str) -> bool:
    """Whether an object lies under *key*.

    Raises:
        DeliveryFailed: the bucket cannot be asked.
    """
    with _explained(destination):
        return _look(destination, key) is not None


def sha256_of(destination: Destination, key: str) -> str | None:
    """The SHA-256 with which an object was written, in hex; None if there is none, or it is nobody's of this product.

    Raises:
        DeliveryFailed: the bucket cannot be asked.
    """
    with _explained(destination):
        held = _look(destination, key)
        return held["Metadata"].get(SHA256) if held else None


def remove(destination: Destination, key: str, version_id: str | None = None) -> None:
    """Remove an object, or one version of it; none is as good.

    Raises:
        DeliveryFailed: the bucket refused or cannot be reached.
    """
    with _explained(destination):
        version: dict[str, Any] = {"VersionId": version_id} if version_id else {}
        client(destination).delete_object(Bucket=destination.bucket, Key=key, **version)


@contextmanager
def _explained(destination: Destination) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, ValueError) as error:
        raise DeliveryFailed(explain(destination, error)) from error


def _look(destination: Destination, key: str) -> HeadObjectOutputTypeDef | None:
    try:
        return client(destination).head_object(Bucket=destination.bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if _is_missing(destination, key, error):
            return None
        raise


def _is_missing(destination: Destination, key: str, error: ClientError) -> bool:
    """Whether a refusal says that there is no object.

    AWS answers 403 for one that is not there to whoever may not list the bucket, as the pages of GetObject and HeadObject
    say; who may list a prefix alone is one of those, and finds out by listing.
    """
    if code(error) in ("403", "AccessDenied"):
        return key not in keys(destination, key)
    return code(error) in ("404", "NoSuchKey")


def _is(held: HeadObjectOutputTypeDef, body: Body) -> bool:
    """Whether an object holds these bytes: by the checksum that S3 made, which for parts is one of their checksums."""
    if held["ContentLength"] != body.size:
        return False
    stated = held.get("ChecksumSHA256", "-")
    if "-" in stated:
        return held["Metadata"].get(SHA256) == body.sha256.hex()
    return stated == base64.b64encode(body.sha256).decode()


def _replace(destination: Destination, key: str, body: Body, fence: int, held: HeadObjectOutputTypeDef) -> None:
    before = held["Metadata"].get(FENCE, "")
    if not before.isdigit() or int(before) >= fence:
        whose = f"by a later exporter ({before})" if before.isdigit() else "by nobody of this product"
        raise DeliveryFailed(
            f"{destination.name} bucket {destination.bucket} holds another object under {key}, written {whose}; "
            f"nothing was replaced: look whose it is, and remove it"
        )
    write(destination, key, body, fence, IfMatch=held["ETag"])


def write(destination: Destination, key: str, body: Body, fence: int, **condition: Any) -> None:
    """Write an object under a condition of S3's (`IfNoneMatch`, `IfMatch`), or under none; nothing is read back.

    Raises:
        ClientError, BotoCoreError: as boto3 has them.
    """
    body.file.seek(0)
    about: dict[str, Any] = {
        "Bucket": destination.bucket,
        "Key": key,
        "ContentType": body.content_type,
        "Metadata": {SHA256: body.sha256.hex(), FENCE: str(fence)},
        **_kept_as(destination, body.size),
    }
    if body.size > MULTIPART_BYTES:
        _write_parts(destination, body, about, condition)
        return
    client(destination).put_object(
        Body=body.file,
        ContentLength=body.size,
        ChecksumSHA256=base64.b64encode(body.sha256).decode(),
        **about,
        **condition,
    )


def _kept_as(destination: Destination, size: int) -> dict[str, str]:
    """By which key an object is encrypted, and in which storage class it lies, where that is set."""
    kept: dict[str, str] = {}
    if destination.encryption:
        kept["ServerSideEncryption"] = destination.encryption
    if destination.kms_key:
        kept["SSEKMSKeyId"] = destination.kms_key
    if destination.storage_class and size >= LEAST_BYTES_IN_A_CLASS:
        kept["StorageClass"] = destination.storage_class
    return kept


def _write_parts(destination: Destination, body: Body, about: dict[str, Any], condition: dict[str, Any]) -> None:
    s3 = client(destination)
    where = {"Bucket": about["Bucket"], "Key": about["Key"]}
    where["UploadId"] = s3.create_multipart_upload(ChecksumAlgorithm="SHA256", **about)["UploadId"]
    try:
        parts: list[CompletedPartTypeDef] = []
        while data := body.file.read(PART_BYTES):
            number, checksum = len(parts) + 1, base64.b64encode(hashlib.sha256(data).digest()).decode()
            sent = s3.upload_part(PartNumber=number, Body=data, ChecksumSHA256=checksum, **where)
            parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum})
        s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **where, **condition)
    except BaseException:
        # What was sent would be paid for until somebody removed it.
        with suppress(BotoCoreError, ClientError):
            s3.abort_multipart_upload(**where)
        raise
