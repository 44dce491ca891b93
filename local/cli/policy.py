"""`evothesis policy`: the least that a bucket has to allow, as IAM writes it."""

from __future__ import annotations

import json
from typing import Any

import click

from storage import settings

OBJECT_ACTIONS = (
    "s3:PutObject",
    "s3:GetObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    # Who is erased is in no older version either.
    "s3:DeleteObjectVersion",
)
BUCKET_ACTIONS = ("s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads")
KMS_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")


@click.command()
@click.argument("side", metavar="[client|backup|GROUP]", default="client")
@click.option(
    "--principal", metavar="ARN", help="Who delivers; makes it a policy of the bucket instead of one of his own."
)
@click.option("--trust", metavar="ARN", help="Print the trust policy of the role instead, for who may assume it.")
def policy(side: str, principal: str | None, trust: str | None) -> None:
    """Print the policy that lets events be delivered to the client's or the backup bucket, and nothing else.

    Bucket, prefix, KMS key and ExternalId are those of the settings.
    """
    destination = settings.load().require_destination(side)
    if trust:
        document = _trust(trust, destination.external_id)
    else:
        document = _access(destination.bucket, destination.prefix, destination.kms_key, principal)
    click.echo(json.dumps(document, indent=2))


def _access(bucket: str, prefix: str, kms_key: str | None, principal: str | None) -> dict[str, Any]:
    whom = {"Principal": {"AWS": principal}} if principal else {}
    statements: list[dict[str, Any]] = [
        {
            "Sid": "DeliverEvents",
            "Effect": "Allow",
            **whom,
            "Action": list(OBJECT_ACTIONS),
            "Resource": f"arn:aws:s3:::{bucket}/{prefix}/*",
        },
        {
            "Sid": "ReadBackWhatIsThere",
            "Effect": "Allow",
            **whom,
            "Action": list(BUCKET_ACTIONS),
            "Resource": f"arn:aws:s3:::{bucket}",
            "Condition": {"StringLike": {"s3:prefix": f"{prefix}/*"}},
        },
    ]
    # A key says itself who may use it; a bucket cannot.
    if kms_key and not principal:
        resource = kms_key if kms_key.startswith("arn:") else "*"
        statements.append({"Sid": "UseTheKey", "Effect": "Allow", "Action": list(KMS_ACTIONS), "Resource": resource})
    return {"Version": "2012-10-17", "Statement": statements}


def _trust(caller: str, external_id: str | None) -> dict[str, Any]:
    condition = {"Condition": {"StringEquals": {"sts:ExternalId": external_id}}} if external_id else {}
    statement = {"Effect": "Allow", "Principal": {"AWS": caller}, "Action": "sts:AssumeRole", **condition}
    return {"Version": "2012-10-17", "Statement": [statement]}
