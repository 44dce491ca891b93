import json
import textwrap

import psycopg
import pytest

from emulator import template
from emulator.runtime import Runtime


@pytest.fixture
def write_template(tmp_path):
    """Write a template with one function `F`, whose module `main.py` is given, and load it."""

    def write(code, *, routes=(), properties=None, resources=None, parameters=None, metadata=None):
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / "main.py").write_text(textwrap.dedent(code))
        events = {
            f"R{number}": {
                "Type": "HttpApi",
                "Properties": {"Method": method, "Path": path, "PayloadFormatVersion": version},
            }
            for number, (method, path, version) in enumerate(routes)
        }
        function = {"Handler": "main.handler", "CodeUri": "code", "Timeout": 5, "Events": events, **(properties or {})}
        document = {
            "Resources": {
                "F": {"Type": "AWS::Serverless::Function", "Metadata": metadata or {}, "Properties": function},
                **(resources or {}),
            }
        }
        file = tmp_path / "template.yaml"
        file.write_text(json.dumps(document))  # JSON is YAML.
        return template.load(file, parameters or {})

    return write


@pytest.fixture
def start(write_template):
    """A runtime for a template that is written like `write_template` does."""

    def start(code, **options):
        return Runtime(write_template(code, **options))

    return start


@pytest.fixture
def database_lock(tmp_path):
    """Hold up whoever inserts events, until all advisory locks of the connection are given up."""

    def database_lock(running):
        del running
        connection = psycopg.connect((tmp_path / "data" / "database-url").read_text().strip(), autocommit=True)
        return connection, lambda: connection.execute("SELECT pg_advisory_lock(1163284308, 1)")

    return database_lock
