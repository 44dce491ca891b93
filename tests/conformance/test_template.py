"""What a SAM template may say here; all else is refused with the resource's name and line."""

import json

import pytest

from emulator import template
from emulator.errors import TemplateInvalid
from emulator.model import AsyncConfig, QueueSource, Target

FUNCTION = {"Handler": "main.handler", "CodeUri": "code"}


@pytest.fixture
def load(tmp_path):
    def load(resources, parameters=None, **document):
        (tmp_path / "code").mkdir(exist_ok=True)
        file = tmp_path / "template.yaml"
        file.write_text(json.dumps({"Resources": resources, **document}, indent=1))
        return template.load(file, parameters or {})

    return load


@pytest.fixture
def load_function(load):
    """Load a template with one function `F` of these properties, beside other resources."""

    def load_function(properties=None, others=None, **document):
        own = {"Type": "AWS::Serverless::Function", "Properties": {**FUNCTION, **(properties or {})}}
        return load({**(others or {}), "F": own}, **document)

    return load_function


def variable(value):
    return {"Environment": {"Variables": {"V": value}}}


QUEUE = {"Q": {"Type": "AWS::SQS::Queue"}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "Name"}, "n"),
        ({"Ref": "AWS::Region"}, "us-east-1"),
        ({"Ref": "F"}, "F"),
        ({"Ref": "Q"}, "https://sqs.us-east-1.amazonaws.com/123456789012/Q"),
        ({"Fn::GetAtt": ["F", "Arn"]}, "arn:aws:lambda:us-east-1:123456789012:function:F"),
        ({"Fn::GetAtt": ["Q", "Arn"]}, "arn:aws:sqs:us-east-1:123456789012:Q"),
        ({"Fn::GetAtt": ["Q", "QueueName"]}, "Q"),
        ({"Fn::Sub": "${Name}-${AWS::AccountId}-${Q.Arn}-${!Name}"}, "n-123456789012-arn:aws:sqs:us-east-1:123456789012:Q-${Name}"),
        ({"Fn::Sub": ["${Name}${Own}", {"Own": {"Ref": "Name"}}]}, "nn"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Name"}]]}, "a-n"),
        ({"Fn::If": ["IsN", "yes", "no"]}, "yes"),
        ({"Fn::If": ["IsNeither", "yes", "no"]}, "no"),
        ({"Fn::FindInMap": ["M", {"Ref": "Name"}, "size"]}, "7"),
    ],
)  # fmt: skip
def test_intrinsic_functions_are_resolved(load_function, value, expected):
    document = {
        "Parameters": {"Name": {"Type": "String", "Default": "n"}},
        "Conditions": {
            "IsN": {"Fn::Equals": [{"Ref": "Name"}, "n"]},
            "IsNeither": {"Fn::And": [{"Condition": "IsN"}, {"Fn::Not": [{"Fn::Or": [{"Condition": "IsN"}]}]}]},
        },
        "Mappings": {"M": {"n": {"size": 7}}},
    }
    loaded = load_function(variable(value), QUEUE, **document)
    assert loaded.functions["F"].environment["V"] == expected


def test_no_value_takes_a_property_away(load_function):
    document = {"Conditions": {"Never": {"Fn::Equals": ["a", "b"]}}}
    nothing = {"Fn::If": ["Never", 5, {"Ref": "AWS::NoValue"}]}
    assert load_function({"ReservedConcurrentExecutions": nothing}, **document).functions["F"].concurrency is None


def test_a_resource_whose_condition_is_false_is_not_there(load):
    resources = {"F": {"Type": "AWS::Serverless::Function", "Condition": "Never", "Properties": FUNCTION}}
    assert load(resources, Conditions={"Never": {"Fn::Equals": ["a", "b"]}}).functions == {}


def test_what_is_not_said_is_lambdas_default(load_function):
    f = load_function().functions["F"]
    assert (f.timeout_seconds, f.memory_mb, f.concurrency) == (3, 128, None)
    assert f.asynchronous == AsyncConfig(retries=2, max_age_seconds=21_600)


def test_asynchronous_invocations_are_configured(load_function):
    to_queue = {"Type": "SQS", "Destination": {"Fn::GetAtt": ["Q", "Arn"]}}
    to_itself = {"Type": "Lambda", "Destination": {"Fn::GetAtt": ["F", "Arn"]}}
    config = {
        "MaximumRetryAttempts": 1,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {"OnFailure": to_queue, "OnSuccess": to_itself},
    }
    dead = {"Type": "SQS", "TargetArn": {"Fn::GetAtt": ["Q", "Arn"]}}
    found = load_function({"EventInvokeConfig": config, "DeadLetterQueue": dead}, QUEUE).functions["F"].asynchronous
    assert found == AsyncConfig(1, 60, Target("function", "F"), Target("queue", "Q"), "Q")


def test_a_queue_source_is_read(load_function):
    source = {
        "Queue": {"Fn::GetAtt": ["Q", "Arn"]},
        "BatchSize": 50,
        "MaximumBatchingWindowInSeconds": 2,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }
    loaded = load_function({"Events": {"Q": {"Type": "SQS", "Properties": source}}}, QUEUE)
    assert loaded.queue_sources == [QueueSource("F.Q", "Q", "F", 50, 2, True)]


@pytest.mark.parametrize("where", ["event", "resource"])
def test_the_scheduler_is_read_as_an_event_and_as_a_resource(load_function, where):
    said = {"ScheduleExpression": "cron(0 9 * * ? *)", "ScheduleExpressionTimezone": "Europe/Berlin"}
    if where == "event":
        loaded = load_function({"Events": {"S": {"Type": "ScheduleV2", "Properties": {**said, "Input": "{}"}}}})
    else:
        target = {"Arn": {"Fn::GetAtt": ["F", "Arn"]}, "Input": "{}", "RoleArn": "x"}
        loaded = load_function(
            others={"S": {"Type": "AWS::Scheduler::Schedule", "Properties": {**said, "Target": target}}}
        )
    [schedule] = loaded.schedules
    assert (schedule.function, schedule.input, schedule.source) == ("F", "{}", "aws.scheduler")


def event(kind, **properties):
    return {"Events": {"E": {"Type": kind, "Properties": properties}}}


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"SnapStart": {}}, "F: SnapStart is not supported here"),
        ({"Runtime": "nodejs20.x"}, r"F: Runtime nodejs20\.x is not supported here"),
        ({"Timeout": 901}, "F: Timeout has to be a number from 1 to 900"),
        ({"Timeout": "soon"}, "F: Timeout has to be a number"),
        ({"MemorySize": 64}, "F: MemorySize has to be a number from 128 to 10240"),
        ({"Layers": ["arn:aws:lambda:us-east-1:1:layer:x:1"]}, "F: layer arn:.* is not in the template"),
        ({"EventInvokeConfig": {"MaximumRetryAttempts": 3}}, "MaximumRetryAttempts has to be a number from 0 to 2"),
        (
            {"EventInvokeConfig": {"DestinationConfig": {"OnFailure": {"Type": "SNS", "Destination": "x"}}}},
            r"OnFailure\.Type SNS is not supported here; SQS and Lambda are",
        ),
        (
            {
                "EventInvokeConfig": {
                    "DestinationConfig": {"OnFailure": {"Type": "SQS", "Destination": "arn:x:Elsewhere"}}
                }
            },
            "OnFailure has to be the Arn of a AWS::SQS::Queue of this template",
        ),
        (event("Kinesis"), r"F\.E: events of type Kinesis are not supported here"),
        (event("HttpApi", Method="GET", Path="/", Auth={}), r"F\.E: Auth is not supported here"),
        (event("HttpApi", Method="GET", Path="/", PayloadFormatVersion="3.0"), "has to be 1.0 or 2.0"),
        (event("HttpApi", Method="GET", Path="/", TimeoutInMillis=49), "TimeoutInMillis has to be a number from 50"),
        (event("Schedule", Schedule="rate(5 seconds)"), r"F\.E: rate\(5 seconds\)"),
        (event("ScheduleV2", ScheduleExpression="rate(1 day)", StartDate="x"), "StartDate is not supported here"),
        (
            event("SQS", Queue="arn:aws:sqs:us-east-1:1:Elsewhere"),
            "Queue has to be the Arn of a queue of this template",
        ),
        (event("SQS", Queue="x", BatchSize=11), "BatchSize over 10 needs a MaximumBatchingWindowInSeconds"),
        (event("SQS", Queue="x", FilterCriteria={}), "FilterCriteria is not supported here"),
        (variable({"Fn::ImportValue": "x"}), "Fn::ImportValue is not supported here"),
        (variable({"Fn::If": ["Nowhere", 1, 2]}), "no condition Nowhere"),
        (variable({"Fn::Join": "x"}), "Fn::Join is not given what it takes"),
        (variable({"Ref": "Nothing"}), "names neither a parameter nor a resource"),
        (variable({"Fn::GetAtt": ["F", "Nothing"]}), r"!GetAtt F\.Nothing is not supported here"),
    ],
)
def test_what_is_not_supported_is_refused_with_name_and_line(load_function, properties, message):
    with pytest.raises(TemplateInvalid, match=message) as raised:
        load_function(properties)
    if "of this template" not in message or "OnFailure" in message:
        assert str(raised.value).startswith("template.yaml, line 3: F")


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ({"Type": "AWS::SNS::Topic"}, "R: AWS::SNS::Topic is not supported here"),
        ({"Type": "AWS::SQS::Queue", "Properties": {"FifoQueue": True}}, "R: FifoQueue is not supported here"),
        (
            {"Type": "AWS::Serverless::HttpApi", "Properties": {"Auth": {}}},
            "R: Auth is not supported here",
        ),
    ],
)
def test_a_resource_that_is_not_supported_is_refused(load, resource, message):
    with pytest.raises(TemplateInvalid, match=f"template.yaml, line 3: {message}"):
        load({"R": resource})


@pytest.mark.parametrize(
    ("parameters", "given", "message"),
    [
        ({"P": {"Type": "String"}}, {}, "parameter P has no default"),
        ({}, {"P": "x"}, "the template has no parameter P"),
        ({"P": {"Type": "String", "AllowedValues": ["a", "b"]}}, {"P": "c"}, "parameter P: c is none of a, b"),
    ],
)
def test_parameters_are_checked(load, parameters, given, message):
    with pytest.raises(TemplateInvalid, match=message):
        load({}, given, Parameters=parameters)


def test_what_stands_around_the_functions_on_aws_alone_is_passed_over(load_function):
    others = {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Anything": {"Fn::Select": [0, []]}}}}
    assert set(load_function(others=others).functions) == {"F"}
