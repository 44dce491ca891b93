"""The least that a bucket has to allow, as IAM writes it."""

import json

import pytest
from click.testing import CliRunner

from cli.policy import policy
from storage.errors import SettingsInvalid

ROLE = "arn:aws:iam::123456789012:role/evothesis-export"
WHO = "arn:aws:iam::210987654321:user/operator"


@pytest.fixture
def printed(environ):
    environ["CLIENT_S3_BUCKET"] = "events"
    environ["CLIENT_S3_PREFIX"] = "web/analytics"

    def printed(*arguments):
        done = CliRunner().invoke(policy, arguments, catch_exceptions=False)
        return json.loads(done.output)["Statement"]

    return printed


def test_it_allows_what_a_delivery_does_below_the_prefix_and_nothing_else(printed):
    objects, listing = printed()
    assert (objects["Resource"], listing["Resource"]) == ("arn:aws:s3:::events/web/analytics/*", "arn:aws:s3:::events")
    assert objects["Action"] == [
        "s3:PutObject",
        "s3:GetObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:DeleteObjectVersion",
    ]
    assert listing["Action"] == ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": "web/analytics/*"}}


def test_a_policy_of_the_bucket_names_who_delivers(printed):
    assert [statement["Principal"] for statement in printed("client", "--principal", WHO)] == [{"AWS": WHO}] * 2


def test_a_key_of_ones_own_may_be_used(printed, environ):
    environ["CLIENT_S3_ENCRYPTION"] = "aws:kms"
    environ["CLIENT_S3_KMS_KEY"] = "arn:aws:kms:eu-central-1:123456789012:key/1"
    assert printed()[2] == {
        "Sid": "UseTheKey",
        "Effect": "Allow",
        "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
        "Resource": "arn:aws:kms:eu-central-1:123456789012:key/1",
    }


def test_a_role_trusts_who_names_the_external_id(printed, environ):
    environ["CLIENT_S3_ROLE_ARN"] = ROLE
    environ["CLIENT_S3_EXTERNAL_ID"] = "shared-42"
    [statement] = printed("--trust", WHO)
    assert statement["Principal"] == {"AWS": WHO}
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "shared-42"}}


def test_a_side_without_a_bucket_has_no_policy(environ):
    with pytest.raises(SettingsInvalid, match="BACKUP_S3_BUCKET is not set"):
        CliRunner().invoke(policy, ["backup"], catch_exceptions=False)
