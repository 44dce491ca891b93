"""The template as AWS gets it: who may do what, what is made, and who is told when something fails."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from emulator import intrinsics

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ("Collect", "ExportScheduled", "DomainDiscovery", "Retention", "VisitorDeletion")
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:evothesis-AbCdEf"
EVERYTHING = {
    "SecretsArn": SECRET,
    "MakeDatabase": "true",
    "VpcId": "vpc-12345678",
    "SubnetIds": "subnet-1,subnet-2",
    "CollectBuffer": "queue",
    "MakeBuckets": "both",
    "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:alarms",
}
IN_ANOTHER_ACCOUNT = {
    "ClientBucket": "client-bucket",
    "ClientRoleArn": "arn:aws:iam::210987654321:role/evothesis",
    "BackupBucket": "backup-bucket",
    "BackupAccessKey": "key",
    "BackupSecretKey": "secret",
}


# AWS's own transformation, in an environment of its own: it holds back libraries that the product has newer.
TRANSFORM = """
import json, sys
from samtranslator.translator.transform import transform

class NoManagedPolicies:
    def load(self):
        return {}

print(json.dumps(transform(json.load(sys.stdin), {}, NoManagedPolicies())))
"""


@pytest.fixture(scope="module")
def transformed():
    document = json.loads(json.dumps(intrinsics.read(ROOT / "sam-template.yaml")))
    # `sam package` puts the code into a bucket.
    document["Globals"]["Function"]["CodeUri"] = "s3://bucket/functions"
    for resource in document["Resources"].values():
        if "ContentUri" in resource.get("Properties", {}):
            resource["Properties"]["ContentUri"] = "s3://bucket/layer"
    done = subprocess.run(
        [ROOT / ".venv-audit/bin/python", "-c", TRANSFORM],
        input=json.dumps(document),
        env={**os.environ, "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Stack:
    """What there is with these parameters: the transformed template with its conditions decided."""

    def __init__(self, template, parameters):
        self._template = template
        self._resolver = intrinsics.Resolver(template, parameters)
        self.resources = {
            name: resource
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or self._resolver.holds(resource["Condition"], name)
        }

    def chosen(self, value):
        """*value* with each `Fn::If` decided; references stay what they are."""
        if isinstance(value, list):
            items = [self.chosen(item) for item in value]
            return [item for item in items if item != {"Ref": "AWS::NoValue"}]
        if isinstance(value, dict):
            if value.keys() == {"Fn::If"}:
                condition, then, otherwise = value["Fn::If"]
                return self.chosen(then if self._resolver.holds(condition, "If") else otherwise)
            return {name: self.chosen(item) for name, item in value.items()}
        return value

    def of_type(self, kind):
        return {name: each for name, each in self.resources.items() if each["Type"] == kind}

    def policies(self, function):
        """The policies of this template that a function's role has."""
        arns = self.chosen(self.resources[f"{function}Role"]["Properties"]["ManagedPolicyArns"])
        return {arn["Ref"] for arn in arns if "Ref" in arn}

    def statements(self, function):
        """All that its role may do, but write logs."""
        own = self.resources[f"{function}Role"]["Properties"].get("Policies", [])
        documents = [policy["PolicyDocument"] for policy in self.chosen(own)]
        documents += [self.resources[name]["Properties"]["PolicyDocument"] for name in self.policies(function)]
        return [self.chosen(statement) for document in documents for statement in document["Statement"]]


def listed(value):
    return value if isinstance(value, list) else [value]


def actions(stack, function):
    return {action for statement in stack.statements(function) for action in listed(statement["Action"])}


OF_A_BUCKET = {
    "s3:PutObject",
    "s3:GetObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:DeleteObjectVersion",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:ListBucketMultipartUploads",
}
SECRETS, DEAD = {"secretsmanager:GetSecretValue"}, {"sqs:SendMessage"}
QUEUE = {"sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}


@pytest.mark.parametrize(
    ("function", "allowed"),
    [
        ("Collect", SECRETS | QUEUE),
        ("ExportScheduled", SECRETS | DEAD | OF_A_BUCKET),
        ("DomainDiscovery", SECRETS | DEAD),
        ("Retention", SECRETS | DEAD | OF_A_BUCKET),
        ("VisitorDeletion", SECRETS | DEAD | OF_A_BUCKET),
    ],
)
def test_a_function_may_do_what_it_does_and_nothing_else(transformed, function, allowed):
    assert actions(Stack(transformed, EVERYTHING), function) == allowed


@pytest.mark.parametrize("function", FUNCTIONS)
def test_with_nothing_set_a_function_may_give_up_an_event_and_no_more(transformed, function):
    assert actions(Stack(transformed, {}), function) == DEAD


@pytest.mark.parametrize("parameters", [{}, EVERYTHING, IN_ANOTHER_ACCOUNT])
def test_no_right_is_for_everything(transformed, parameters):
    stack = Stack(transformed, parameters)
    for function in FUNCTIONS:
        for statement in stack.statements(function):
            assert "*" not in listed(statement["Action"])
            assert "*" not in listed(statement["Resource"])
            assert statement["Effect"] == "Allow"


def test_in_a_bucket_of_its_own_keys_or_role_the_functions_have_no_right_of_their_own(transformed):
    stack = Stack(transformed, IN_ANOTHER_ACCOUNT)
    for function in ("ExportScheduled", "Retention", "VisitorDeletion"):
        assert stack.policies(function) == {"AssumeClientRole"}


def test_with_nothing_set_nothing_is_made_that_costs_by_the_hour(transformed):
    kinds = {each["Type"] for each in Stack(transformed, {}).resources.values()}
    assert not kinds & {
        "AWS::RDS::DBInstance",
        "AWS::S3::Bucket",
        "AWS::SecretsManager::Secret",
        "AWS::EC2::SecurityGroup",
    }


def test_the_database_is_encrypted_reached_by_the_functions_alone_and_not_removed_by_mistake(transformed):
    stack = Stack(transformed, EVERYTHING)
    database = stack.resources["Database"]
    own = database["Properties"]
    assert (own["StorageEncrypted"], own["PubliclyAccessible"], own["DeletionProtection"]) == (True, False, True)
    assert database["DeletionPolicy"] == "Snapshot"
    [way_in] = stack.resources["DatabaseSecurityGroup"]["Properties"]["SecurityGroupIngress"]
    assert way_in["SourceSecurityGroupId"] == {"Ref": "FunctionsSecurityGroup"}
    assert "CidrIp" not in way_in


def test_no_variable_of_a_function_holds_a_secret_where_secrets_are_kept(transformed):
    resolver = intrinsics.Resolver(transformed, EVERYTHING)
    for function in FUNCTIONS:
        given = transformed["Resources"][function]["Properties"]["Environment"]["Variables"]
        variables = {
            name: value if isinstance(value, str) else Stack(transformed, EVERYTHING).chosen(value)
            for name, value in given.items()
        }
        for name in ("EVOTHESIS_ADMIN_TOKEN", "PRIVACY_KEY"):
            assert resolver.resolve(variables[name], name) == ""
        assert "password" not in json.dumps(variables).lower()


@pytest.mark.parametrize("parameters", [{}, EVERYTHING])
def test_what_a_function_fails_at_is_kept_and_told(transformed, parameters):
    stack = Stack(transformed, parameters)
    alarms = [each["Properties"] for each in stack.of_type("AWS::CloudWatch::Alarm").values()]
    watched = {json.dumps(dimension["Value"]) for alarm in alarms for dimension in alarm.get("Dimensions", ())}
    for function in FUNCTIONS:
        assert json.dumps({"Ref": function}) in watched
        dead_letters = stack.resources[function]["Properties"]["DeadLetterConfig"]["TargetArn"]
        assert dead_letters == {"Fn::GetAtt": ["FailedInvocations", "Arn"]}
    for queue in stack.of_type("AWS::SQS::Queue"):
        assert json.dumps({"Fn::GetAtt": [queue, "QueueName"]}) in watched
    told = [stack.chosen(alarm).get("AlarmActions") for alarm in alarms]
    assert all(bool(each) and each != {"Ref": "AWS::NoValue"} for each in told) == bool(parameters)


def test_beacons_that_wait_are_bounded_by_the_databases_connections_and_given_up_into_a_queue(transformed):
    stack = Stack(transformed, EVERYTHING)
    source = stack.resources["BeaconsToCollect"]["Properties"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "CollectConcurrency"}}
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    redrive = stack.resources["Beacons"]["Properties"]["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["BeaconsFailed", "Arn"]}
    assert stack.chosen(stack.resources["Collect"]["Properties"]["Environment"]["Variables"]["COLLECT_QUEUE_URL"]) == {
        "Ref": "Beacons"
    }
