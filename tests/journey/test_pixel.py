"""The pixel in real browsers: each scenario of `pixel/test/{browser,webkit,exit,offline}` against the running platform."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PIXEL = Path(__file__).parents[2] / "pixel"
PROGRAMS = {"chrome": "chromium", "firefox": "firefox-esr", "webkit": "WebKitWebDriver"}
ENGINES = ["chrome", "firefox"]


@pytest.fixture(scope="module")
def start(platform):
    """Start the scenarios of a kind in one engine."""

    def start(kind, engine):
        program = PROGRAMS[engine]
        assert shutil.which(program), f"install {program}; the pixel has to work in it"
        # WebKitGTK has no mode without a screen.
        screen = ["xvfb-run", "--auto-servernum"] if engine == "webkit" else []
        return subprocess.Popen(
            [*screen, "node", "test.mjs", kind],
            cwd=PIXEL,
            env={
                **os.environ,
                "ENGINE": engine,
                # It will not put a page of root's into its sandbox.
                **({"WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"} if os.geteuid() == 0 else {}),
                "EVOTHESIS_URL": platform.url,
                "EVOTHESIS_ADMIN_TOKEN": platform.admin["Authorization"].removeprefix("Bearer "),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


@pytest.fixture(scope="module")
def runs(start):
    """Both engines side by side, for most of the time they wait."""
    running = {engine: start("browser", engine) for engine in ENGINES}
    return {engine: ended(process) for engine, process in running.items()}


@pytest.fixture(scope="module")
def away(start):
    """Two minutes in which nearly nothing happens, beside everything else."""
    running = {engine: start("offline", engine) for engine in ENGINES}
    yield running
    for process in running.values():
        process.kill()
        process.wait()


def ended(process):
    return process.communicate()[0], process.returncode


def holds(printed, status):
    assert status == 0, printed[printed.find("failing tests") :][:8000]
    # None of them was left out.
    assert " skipped 0\n" in printed
    assert " fail 0\n" in printed


@pytest.mark.parametrize("engine", ENGINES)
def test_every_scenario_holds(away, runs, engine):
    holds(*runs[engine])


def test_what_every_engine_must_do_holds_in_webkit(start):
    holds(*ended(start("webkit", "webkit")))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_done_right_before_the_end_is_not_lost(runs, start, engine):
    holds(*ended(start("exit", engine)))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_made_without_a_network_arrives_when_it_is_back(away, engine):
    holds(*ended(away[engine]))
