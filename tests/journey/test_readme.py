"""The five-minute walk of the README, word for word."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


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
    mark = "echo ======"
    outputs = shell(f"\n{mark}\n".join(BLOCKS)).split("======\n")
    recent, collect, export, listings, query, table = outputs
    assert json.loads(recent) == {"events": []}
    assert json.loads(collect) == {"accepted": 1, "duplicates": 0, "rejected": []}
    assert json.loads(export)["failures"] == {}
    assert listings.count(".parquet") == listings.count("/manifests/") == 2
    assert re.search(r"shop\.example\.com.*page_view.*1", query)
    assert re.search(r"page_view https://shop\.example\.com/\?utm_source=newsletter 20\d\d-", table)
