"""The pixel in real browsers: each scenario of `pixel/test/browser` against the running platform."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PIXEL = Path(__file__).parents[2] / "pixel"
PROGRAMS = {"chrome": "chromium", "firefox": "firefox-esr"}


@pytest.mark.parametrize("engine", PROGRAMS)
def test_every_scenario_holds(platform, engine):
    assert shutil.which(PROGRAMS[engine]), f"install {PROGRAMS[engine]}; the pixel has to work in it"
    ran = subprocess.run(
        ["node", "test.mjs", "browser"],
        cwd=PIXEL,
        env={
            **os.environ,
            "ENGINE": engine,
            "EVOTHESIS_URL": platform.url,
            "EVOTHESIS_ADMIN_TOKEN": platform.admin["Authorization"].removeprefix("Bearer "),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
