"""What was acknowledged is stored, once, whatever is killed meanwhile: the short form of benchmarks/soak.py."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_what_was_acknowledged_is_stored_while_environments_and_the_database_die():
    command = [".venv/bin/python", "benchmarks/soak.py", "--seconds", "30", "--kill-every", "3", "--restarts", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "restarted 2 times" in done.stdout
