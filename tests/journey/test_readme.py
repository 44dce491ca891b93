"""The walks of the README and of the tutorial, word for word."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARK = "echo ======"


def walk_of(page):
    """Every block of a page that is to be typed, in order."""
    return re.findall(r"^```bash\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(run, tmp_path):
    """Run a script in a fresh checkout's place, on a platform that was started by `evothesis run` alone."""
    running = run(EVOTHESIS_PORT="0")
    endpoint = re.search(r"client bucket .* at (\S+)", running.output)[1]
    (tmp_path / ".data").symlink_to(tmp_path / "data")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")

    def shell(script):
        script = script.replace("http://127.0.0.1:8000", running.url).replace("http://127.0.0.1:4566", endpoint)
        environ = {name: os.environ[name] for name in ("PATH", "HOME")}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return shell


def test_every_step_does_what_the_readme_says(shell):
    outputs = shell(f"\n{MARK}\n".join(walk_of("README.md"))).split("======\n")
    recent, collect, export, listings, query, table = outputs
    assert json.loads(recent) == {"events": []}
    assert json.loads(collect) == {"accepted": 1, "duplicates": 0, "rejected": []}
    assert json.loads(export)["failures"] == {}
    assert listings.count(".parquet") == listings.count("/manifests/") == 2
    assert re.search(r"shop\.example\.com.*page_view.*1", query)
    assert re.search(r"page_view https://shop\.example\.com/\?utm_source=newsletter 20\d\d-", table)


def test_every_step_does_what_the_tutorial_says(shell):
    outputs = shell(f"\n{MARK}\n".join(walk_of("docs/tutorial.md"))).split("======\n")
    sent, kept_out, delivered, question, erased, after = outputs
    assert sent.count('"accepted":2') == 3
    assert kept_out.splitlines()[0].endswith("204")
    assert "events     7" in kept_out
    assert delivered.count("every event is there once") == 2
    assert re.search(r"3 +│ +60", question)
    assert "completed" in erased
    assert "anna" not in after
    assert "every event is there once" in after
    assert re.search(r"visitor-ben +│ +2", after)


def test_no_page_has_a_command_that_looks_typed_and_is_not_run():
    # What is run is `bash`; what is shown, with its prompt or as a piece of configuration, is anything else.
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "tutorial.md" or not walk_of(page)


def test_every_command_that_the_readme_lists_is_there():
    listed = re.findall(r"^\$ \.venv/bin/evothesis ([^#\n]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(listed) > 10
    for line in listed:
        words = line.split()
        command = [word for word in words if re.fullmatch(r"[a-z]+", word)][
            : 2 if words[0] in ("visitor", "site", "webhooks") else 1
        ]
        said = subprocess.run(
            [ROOT / ".venv/bin/evothesis", *command, "--help"], capture_output=True, text=True, check=False
        )
        assert said.returncode == 0, line
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", line):
            assert option in said.stdout, line
