"""The pixel in real browsers: each scenario of `pixel/test/browser` against the running platform."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PIXEL = Path(__file__).parents[2] / "pixel"
PROGRAMS = {"chrome": "chromium", "firefox": "firefox-esr"}


@pytest.fixture(scope="module")
def runs(platform):
    """What each engine's run printed and how it ended; they run side by side, for most of the time they wait."""
    running = {}
    for engine, program in PROGRAMS.items():
        assert shutil.which(program), f"install {program}; the pixel has to work in it"
        running[engine] = subprocess.Popen(
            ["node", "test.mjs", "browser"],
            cwd=PIXEL,
            env={
                **os.environ,
                "ENGINE": engine,
                "EVOTHESIS_URL": platform.url,
                "EVOTHESIS_ADMIN_TOKEN": platform.admin["Authorization"].removeprefix("Bearer "),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return {engine: (process.communicate()[0], process.returncode) for engine, process in running.items()}


@pytest.mark.parametrize("engine", PROGRAMS)
def test_every_scenario_holds(runs, engine):
    printed, status = runs[engine]
    assert status == 0, printed[printed.find("failing tests") :][:8000]
    # None of them was left out.
    assert " skipped 0\n" in printed
    assert " fail 0\n" in printed
