"""The one place that knows how a bucket is reached, and what its refusals mean."""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.loaders import Loader, create_loader
from botocore.session import Session, get_session

from storage.destination import Destination
from storage.errors import DeliveryFailed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Refusal = BotoCoreError | ClientError | ValueError

# What each refusal means to whoever has to mend it. A HEAD has no body, so it says a status instead of a code.
REMEDIES = {
    "AccessDenied": "the credentials may not do this; grant s3:PutObject and s3:GetObject on the prefix",
    "403": "the credentials may not read the object back; grant s3:GetObject on the prefix",
    "NoSuchBucket": "the bucket does not exist; make it, or mend its name",
    "InvalidAccessKeyId": "the access key is unknown; set the current one",
    "SignatureDoesNotMatch": "the secret key does not fit the access key; set both anew",
    "ExpiredToken": "the credentials have expired; set new ones",
    "InvalidToken": "the credentials are not whole; set them anew",
    "PermanentRedirect": "the bucket lies in another region; set its region",
    "301": "the bucket lies in another region; set its region",
    "AuthorizationHeaderMalformed": "the bucket lies in another region; set its region",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it by NTP",
    "SlowDown": "it is asked too often; the next run goes on",
    "ServiceUnavailable": "it does not answer for now; the next run goes on",
    "503": "it does not answer for now; the next run goes on",
    "InternalError": "it failed by itself; the next run goes on",
    "500": "it failed by itself; the next run goes on",
    "RequestTimeout": "the body came too slowly; the next run goes on",
    "BadDigest": "the body was damaged on the way; the next run sends it again",
    "XAmzContentSHA256Mismatch": "the body was damaged on the way; the next run sends it again",
    "AllAccessDisabled": "the account or the bucket is locked; ask its owner",
    "AccountProblem": "the account or the bucket is locked; ask its owner",
    "KMS.DisabledException": "the KMS key is disabled; enable it",
    "KMS.NotFoundException": "there is no such KMS key; mend its name",
    "PreconditionFailed": "another exporter wrote it at the same moment; the next run looks again",
    "InvalidStorageClass": "there is no such storage class; mend its name",
}

TRUST = (
    "its trust policy has to name whose keys these are, and the same ExternalId; `evothesis policy --trust` prints one"
)

# By what went wrong on the way; the first that fits.
SILENCES: tuple[tuple[type[BotoCoreError], str], ...] = (
    (NoCredentialsError, "there are no credentials; set its access key and secret key, or a role"),
    (ConnectTimeoutError, "it does not answer; check its endpoint, and what stands between"),
    (ReadTimeoutError, "it took the request and did not answer in time; the next run goes on"),
    (SSLError, "its certificate cannot be verified; check its endpoint"),
    (EndpointConnectionError, "nothing listens there; check its endpoint, or its region, and this machine's network"),
)

CONNECT_SECONDS = 5
READ_SECONDS = 60

_making = Lock()


def client(destination: Destination) -> S3Client:
    """The connection to a destination's bucket; a process has one, which any thread may use.

    Raises:
        BotoCoreError, ValueError: its region, endpoint or profile is none; `explain` says which.
    """
    # What makes clients may be used by one thread at a time.
    with _making:
        return _client(destination)


@lru_cache(maxsize=8)
def _client(destination: Destination) -> S3Client:
    session = boto3.Session(
        botocore_session=_session(),
        region_name=destination.region,
        aws_access_key_id=destination.access_key.get_secret_value() if destination.access_key else None,
        aws_secret_access_key=destination.secret_key.get_secret_value() if destination.secret_key else None,
    )
    if destination.role_arn:
        session = _assumed(session, destination.role_arn, destination.external_id)
    return session.client(
        "s3",
        endpoint_url=destination.endpoint_url,
        config=Config(
            signature_version="s3v4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "max_attempts": 4},
            s3={
                # Endpoints of one's own seldom answer to bucket.host names.
                "addressing_style": "path" if destination.endpoint_url else "auto",
                # What is large brings a checksum, in a header that is signed: none has to hash it once more to sign it.
                "payload_signing_enabled": False,
            },
        ),
    )


def _session() -> Session:
    session = get_session()
    # What AWS's services are is a dozen megabytes, the same for every bucket.
    session.register_component("data_loader", _loader())
    return session


@lru_cache(maxsize=1)
def _loader() -> Loader:
    return create_loader(get_session().get_config_variable("data_path"))


def _assumed(session: boto3.Session, role_arn: str, external_id: str | None) -> boto3.Session:
    """A session in a role, whose credentials are renewed before they expire; the ExternalId keeps anybody else from it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    source = session.get_credentials()
    if source is None:
        raise NoCredentialsError
    own = _session()
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=session.client,
        source_credentials=source,
        role_arn=role_arn,
        extra_args={"RoleSessionName": "evothesis-export", **({"ExternalId": external_id} if external_id else {})},
    )

    class Assumed(CredentialProvider):
        METHOD = "assume-role"

        def load(self) -> DeferredRefreshableCredentials:
            return DeferredRefreshableCredentials(fetcher.fetch_credentials, self.METHOD)

    own.register_component("credential_provider", CredentialResolver([Assumed()]))
    return boto3.Session(botocore_session=own, region_name=session.region_name)


def make(destination: Destination) -> None:
    """Make the bucket unless it is there.

    Raises:
        DeliveryFailed: the endpoint refuses.
    """
    try:
        if destination.region == "us-east-1":
            client(destination).create_bucket(Bucket=destination.bucket)
        else:
            # boto3 types the region as one of AWS's; S3-compatible servers have others.
            client(destination).create_bucket(
                Bucket=destination.bucket,
                CreateBucketConfiguration={"LocationConstraint": destination.region},  # type: ignore[typeddict-item]
            )
    except ClientError as error:
        if code(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise DeliveryFailed(explain(destination, error)) from error
    except (BotoCoreError, ValueError) as error:
        raise DeliveryFailed(explain(destination, error)) from error


def code(error: ClientError) -> str:
    """What S3 calls a refusal; a status where it only says that."""
    return str(error.response["Error"].get("Code", ""))


def explain(destination: Destination, error: Refusal) -> str:
    """One line that says what a bucket did and what to do about it."""
    where = f"{destination.name} bucket {destination.bucket}"
    if isinstance(error, ClientError):
        if error.operation_name == "AssumeRole":
            return f"{where}: {destination.role_arn} may not be assumed ({code(error)}): {TRUST}"
        remedy = REMEDIES.get(code(error), error.response["Error"].get("Message") or "try again later")
        return f"{where} refused {error.operation_name} ({code(error)}): {remedy}"
    for kind, remedy in SILENCES:
        if isinstance(error, kind):
            return f"{where} cannot be reached: {remedy} ({' '.join(str(error).split())})"
    return f"{where} cannot be reached: {' '.join(str(error).split())}"
