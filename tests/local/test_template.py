"""The template: what it says is what runs, and what is not supported is refused by name."""

import datetime as dt

import pytest

from emulator import intrinsics, schedules
from emulator.errors import TemplateInvalid


def function(**properties):
    return {"F": {"Type": "AWS::Serverless::Function", "Properties": {"Handler": "a.b", "CodeUri": ".", **properties}}}


@pytest.fixture
def load(tmp_path):
    def load(text, **parameters):
        (tmp_path / "code").mkdir(exist_ok=True)
        file = tmp_path / "template.yaml"
        file.write_text(text)
        from emulator import template

        return template.load(file, parameters)

    return load


TEMPLATE = """
Parameters:
  Name: {Type: String}
  Rate: {Type: String, Default: rate(5 minutes)}
Globals:
  Function:
    Timeout: 7
    CodeUri: code/
    Environment: {Variables: {A: global, B: global}}
    Layers: [!Ref First]
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties: {CorsConfiguration: {AllowOrigins: ["*"], AllowMethods: [POST], MaxAge: 60}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.handler
      MemorySize: 512
      Layers: [!Ref Second]
      Environment:
        Variables:
          B: !Ref Name
          C: !Sub "${Name}-${AWS::Region}-${!literal}"
          D: !Join ["/", [a, !Ref Name]]
          E: !GetAtt F.Arn
      Events:
        Get: {Type: HttpApi, Properties: {Method: get, Path: "/x/{id}"}}
        Tick: {Type: Schedule, Properties: {Schedule: !Ref Rate, Input: '{"a": 1}'}}
        Never: {Type: Schedule, Properties: {Schedule: rate(1 day), Enabled: false}}
  First: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: first}}
  Second:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: python3.13}
    Properties: {ContentUri: second}
"""


def test_globals_parameters_and_intrinsic_functions_are_resolved(load, tmp_path):
    loaded = load(TEMPLATE, Name="n")

    f = loaded.functions["F"]
    assert (f.timeout_seconds, f.memory_mb, f.concurrency) == (7, 512, None)
    assert f.environment == {
        "A": "global",
        "B": "n",
        "C": "n-us-east-1-${literal}",
        "D": "a/n",
        "E": intrinsics.arn("F"),
    }
    assert f.python_path == (tmp_path / "code", tmp_path / "second", tmp_path / "first" / "python")
    [route] = loaded.routes
    assert (route.method, route.path, route.payload_version) == ("GET", "/x/{id}", "2.0")
    [schedule] = loaded.schedules
    assert (schedule.name, schedule.input) == ("F.Tick", '{"a": 1}')
    assert loaded.cors.max_age == 60


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not YAML"),
        ("a: 1", "has no Resources"),
        ("Resources: {Q: {Type: AWS::SNS::Topic}}", "Q: AWS::SNS::Topic is not supported"),
        ("Resources: {F: {Type: AWS::Serverless::Function, Properties: {CodeUri: .}}}", "F: a function needs Handler"),
        (
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Handler: a.b, CodeUri: !Ref Nope}}}",
            "F: !Ref Nope names neither",
        ),
        (
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Handler: a.b, CodeUri: !ImportValue x}}}",
            "F: Fn::ImportValue is not supported",
        ),
        (
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Handler: a.b, CodeUri: ., Layers: [arn]}}}",
            "F: layer arn is not in the template",
        ),
        (
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Handler: a.b, CodeUri: ., Events: {E: {Type: S3}}}}}",
            "F.E: events of type S3 are not supported",
        ),
        ("Parameters: {P: {Type: String}}\nResources: {}", "parameter P has no default"),
        (
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Handler: a.b, CodeUri: nowhere}}}",
            "F: CodeUri nowhere: there is no such folder",
        ),
        ("Resources: {Q: {Type: AWS::SQS::Queue, Type: AWS::SQS::Queue}}", "'Type' is there twice"),
        (
            """
x: &e {Type: HttpApi, Properties: {Method: get, Path: /a}}
Resources: {F: {Type: AWS::Serverless::Function, Properties: {Handler: a.b, CodeUri: ., Events: {A: *e, B: *e}}}}
""",
            "F.B: GET /a is routed already",
        ),
    ],
)
def test_what_is_wrong_is_named(load, text, message):
    with pytest.raises(TemplateInvalid, match=message.replace("(", r"\(")):
        load(text)


def test_a_parameter_that_the_template_does_not_have_is_named(load):
    with pytest.raises(TemplateInvalid, match="no parameter Nmae"):
        load("Resources: {}", Nmae="n")


NOON = dt.datetime(2026, 11, 24, 12, 0, 30, tzinfo=dt.UTC)  # a Tuesday


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("rate(1 minute)", "2026-11-24T12:01:30+00:00"),
        ("rate(90 minutes)", "2026-11-24T13:30:30+00:00"),
        ("rate(1 hour)", "2026-11-24T13:00:30+00:00"),
        ("rate(7 days)", "2026-12-01T12:00:30+00:00"),
        ("cron(0 * * * ? *)", "2026-11-24T13:00:00+00:00"),
        ("cron(0/15 * * * ? *)", "2026-11-24T12:15:00+00:00"),
        ("cron(0 10 ? * 1 *)", "2026-11-29T10:00:00+00:00"),  # 1 is Sunday
        ("cron(0 2 ? * SAT#3 *)", "2026-12-19T02:00:00+00:00"),
        ("cron(0 0 L * ? *)", "2026-11-30T00:00:00+00:00"),
    ],
)
def test_a_schedule_is_read_as_eventbridge_reads_it(expression, due):
    assert schedules.parse(expression, "F.Tick")(NOON, NOON).isoformat() == due


@pytest.mark.parametrize(
    "expression",
    [
        "rate(10 seconds)",
        "rate()",
        "rate(10 minutess)",
        "rate(-10 minutes)",
        "rate(1 minutes)",
        "rate(2 minute)",
        "rate(0 minutes)",
        "rate( 1 minute )",
        "cron(0 dummy ? * MON-FRI *)",
        "cron(71 8 1 * ? *)",
        "cron(0 1 * * * *)",
        "hourly",
    ],
)
def test_a_schedule_that_eventbridge_refuses_is_refused_by_name(expression):
    with pytest.raises(TemplateInvalid, match=r"F\.Tick"):
        schedules.parse(expression, "F.Tick")
