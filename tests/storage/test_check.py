"""Whether a bucket can be delivered to, right by right; and who asks it, with which key, for which class."""

import hashlib
import io
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import pytest

from storage import buckets as storage_buckets
from storage import objects, settings
from storage.errors import DeliveryFailed, SettingsInvalid
from storage.export import check
from storage.objects import Body

KEY = "analytics/events/x.parquet"
ALL = [
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:ListBucketMultipartUploads",
    "s3:PutObject",
    "s3:GetObject",
    "conditional writes",
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
]


def body(data=b"the rows"):
    return Body(io.BytesIO(data), len(data), hashlib.sha256(data).digest(), "application/octet-stream")


def problems(report):
    return {right["name"]: right["problem"] for right in report["rights"] if not right["granted"]}


@pytest.fixture
def deny(fault):
    """Let the client's bucket refuse an operation, as IAM does."""
    return lambda operation: fault("client", operation, (403, "AccessDenied"))


def test_a_bucket_that_allows_everything_is_usable_and_left_as_it_was(buckets):
    report = check.run(settings.current(), "client")
    assert ([right["name"] for right in report["rights"]], report["usable"]) == (ALL, True)
    assert buckets.s3.list_objects_v2(Bucket=buckets.names["client"])["KeyCount"] == 0


@pytest.mark.parametrize(
    ("operation", "right", "where"),
    [
        ("ListObjectsV2", "s3:ListBucket", ""),
        ("PutObject", "s3:PutObject", "/analytics/*"),
        ("GetObject", "s3:GetObject", "/analytics/*"),
        ("ListObjectVersions", "s3:ListBucketVersions", ""),
        ("ListMultipartUploads", "s3:ListBucketMultipartUploads", ""),
        ("AbortMultipartUpload", "s3:AbortMultipartUpload", "/analytics/*"),
        ("DeleteObject", "s3:DeleteObject", "/analytics/*"),
    ],
)
def test_the_right_that_is_missing_is_named(buckets, deny, operation, right, where):
    deny(operation)
    report = check.run(settings.current(), "client")
    assert not report["usable"]
    # Without the right to list versions nobody can say which to remove, and one that removes removes versions.
    assert [name for name in problems(report) if name != "s3:DeleteObjectVersion"] == [right]
    assert problems(report)[right].endswith(f"it takes {right} on arn:aws:s3:::{buckets.names['client']}{where}")


def test_of_a_bucket_that_is_not_there_nothing_else_is_said(buckets, environ):
    environ["CLIENT_S3_BUCKET"] = "nowhere"
    report = check.run(settings.current(), "client")
    assert list(problems(report)) == ["s3:ListBucket"]
    assert "the bucket does not exist; make it, or mend its name" in problems(report)["s3:ListBucket"]


def test_a_server_that_writes_over_what_is_there_is_told(buckets, monkeypatch):
    real = objects.write
    monkeypatch.setattr(objects, "write", lambda *arguments, **_: real(*arguments))
    assert "could do so too" in problems(check.run(settings.current(), "client"))["conditional writes"]


def test_a_side_without_a_bucket_cannot_be_tried(environ):
    with pytest.raises(SettingsInvalid, match="BACKUP_S3_BUCKET is not set"):
        check.run(settings.current(), "backup")


def test_an_object_is_encrypted_and_lies_in_the_class_that_is_set_unless_it_is_small(buckets, environ):
    environ["CLIENT_S3_ENCRYPTION"] = "AES256"
    environ["CLIENT_S3_STORAGE_CLASS"] = "STANDARD_IA"
    [client, _] = settings.current().destinations()
    objects.put(client, KEY, body(b"x" * 200_000), 1)
    objects.put(client, f"{KEY}.json", body(), 1)
    large, small = (buckets.s3.head_object(Bucket=buckets.names["client"], Key=key) for key in (KEY, f"{KEY}.json"))
    assert (large["ServerSideEncryption"], large["StorageClass"]) == ("AES256", "STANDARD_IA")
    assert "StorageClass" not in small


def test_a_key_of_ones_own_is_asked_for(buckets, environ, monkeypatch):
    environ["CLIENT_S3_ENCRYPTION"] = "aws:kms"
    environ["CLIENT_S3_KMS_KEY"] = "alias/events"
    [client, _] = settings.current().destinations()
    asked = {}

    def note(params, **_):
        asked.update(params)
        del params["ServerSideEncryption"], params["SSEKMSKeyId"]

    storage_buckets.client(client).meta.events.register("provide-client-params.s3.PutObject", note)
    objects.put(client, KEY, body(), 1)
    assert (asked["ServerSideEncryption"], asked["SSEKMSKeyId"]) == ("aws:kms", "alias/events")


@pytest.fixture
def tokens(environ):
    """A token service that hands out credentials to who names the ExternalId `shared-42`, and what it was asked."""
    asked = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            asked.append({name: value[0] for name, value in form.items()})
            known = form.get("ExternalId") == ["shared-42"]
            text = (GRANTED if known else DENIED).encode()
            self.send_response(200 if known else 403)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environ["AWS_ENDPOINT_URL_STS"] = f"http://127.0.0.1:{server.server_port}"
    yield asked
    server.shutdown()
    server.server_close()


GRANTED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>test</AccessKeyId><SecretAccessKey>test</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
DENIED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>"""
ROLE = "arn:aws:iam::123456789012:role/evothesis-export"


def test_a_role_of_the_clients_account_is_assumed_with_its_external_id(buckets, environ, tokens):
    environ["CLIENT_S3_ROLE_ARN"] = ROLE
    environ["CLIENT_S3_EXTERNAL_ID"] = "shared-42"
    [client, _] = settings.current().destinations()
    objects.put(client, KEY, body(), 1)
    assert objects.exists(client, KEY)
    [request] = tokens
    assert (request["RoleArn"], request["ExternalId"]) == (ROLE, "shared-42")


def test_a_role_that_trusts_somebody_else_is_told_apart_from_a_bucket_that_refuses(buckets, environ, tokens):
    environ["CLIENT_S3_ROLE_ARN"] = ROLE
    environ["CLIENT_S3_EXTERNAL_ID"] = "another"
    with pytest.raises(DeliveryFailed, match=r"may not be assumed.*its trust policy has to name"):
        objects.put(settings.current().destinations()[0], KEY, body(), 1)
