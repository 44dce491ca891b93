"""A bucket that events are delivered to, and what may be said of one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, model_validator

Encryption = Literal["AES256", "aws:kms", "aws:kms:dsse"]
# Those from which an object can be read back at once; from an archive nothing could be proven.
StorageClass = Literal["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"]

# Of a URL's authority.
PORT = r":(?:6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|\d{1,4})"


def _matching(pattern: str, otherwise: str) -> Callable[[str], str]:
    known = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not known.fullmatch(value):
            raise ValueError(otherwise)
        return value

    return check


# A bucket's rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
BucketName = Annotated[
    str,
    AfterValidator(_matching(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "is not a bucket name (3 to 63 of a-z 0-9 . -)")),
]
KeyPrefix = Annotated[
    str,
    AfterValidator(lambda value: value.strip("/")),
    AfterValidator(
        _matching(
            r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*",
            "is not an object key prefix (letters, digits and ! _ . * ' ( ) - between slashes)",
        )
    ),
]
Region = Annotated[
    str, AfterValidator(_matching(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,62}", "is not a region such as eu-central-1"))
]
Endpoint = Annotated[
    str,
    AfterValidator(
        _matching(
            rf"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?:{PORT})?/?",
            "is not a URL such as https://s3.example.com",
        )
    ),
]
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
RoleArn = Annotated[
    str,
    AfterValidator(
        _matching(
            r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}",
            "is not a role such as arn:aws:iam::123456789012:role/evothesis-export",
        )
    ),
]
ExternalId = Annotated[
    str,
    AfterValidator(
        _matching(r"[\w+=,.@:/-]{2,1224}", "is not an ExternalId (2 to 1224 of letters, digits and + = , . @ : / _ -)")
    ),
]


class Bucket(BaseModel):
    """A bucket, and what is needed to write to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: BucketName
    prefix: KeyPrefix = "analytics"
    region: Region = "us-east-1"
    endpoint_url: Endpoint | None = None
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    role_arn: RoleArn | None = None
    external_id: ExternalId | None = None
    encryption: Encryption | None = None
    kms_key: str | None = None
    storage_class: StorageClass | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("access_key and secret_key go together; set both or neither")
        if self.external_id and not self.role_arn:
            raise ValueError("external_id belongs to a role; set role_arn too")
        if self.kms_key and self.encryption in (None, "AES256"):
            raise ValueError("kms_key wants encryption aws:kms")
        return self


class Destination(Bucket):
    """One bucket that receives every batch: the client's, the backup, or that of a group."""

    name: str
    hash_key: SecretStr | None = None

    def hashing_key(self) -> bytes:
        """The key of what is hashed here; empty where nothing is."""
        return self.hash_key.get_secret_value().encode() if self.hash_key else b""
