"""Runs PostgreSQL and the runtime out of memory under load: what was acknowledged is there, and it goes on by itself.

`make compose-exhaust` runs it (needs Docker).
"""

from __future__ import annotations

from stack import ENVIRON, Load, attempt, check, compose, deliver, docker, stored, up, verify_both

from services.child import wait_for

# PostgreSQL holds the whole array in memory, which none of its settings limits.
HOG = "SELECT array_length(array_agg(repeat('x', 1000) || n), 1) FROM generate_series(1, 10000000) n"


PATIENCE_SECONDS = 120


def is_acknowledged(load: Load) -> bool:
    """Whether a hundred more beacons are acknowledged."""
    before = len(load.acknowledged)
    return wait_for(lambda: len(load.acknowledged) >= before + 100, PATIENCE_SECONDS)


def is_lost(query: str) -> bool:
    """Whether PostgreSQL is gone before it has answered."""
    return "server closed the connection" in attempt("postgres", "psql", "-U", "evothesis", "-c", query).stderr


def restart_runtime(files: str) -> str:
    """Have the runtime as these files say; gives its container."""
    ENVIRON["COMPOSE_FILE"] = files
    compose("up", "--detach", "--no-deps", "runtime")
    return compose("ps", "--all", "--quiet", "runtime")


def is_killed_for_memory(container: str) -> bool:
    """What the runbook asks for; true until it is started again."""
    return docker("inspect", "--format", "{{.State.OOMKilled}}", container) == "true"


def main() -> None:
    """Go through all of it."""
    compose("build", "--quiet")
    try:
        up()
        with Load() as load:
            check("postgres: it takes beacons", is_acknowledged(load))
            check("postgres: a query that takes all its memory is killed", is_lost(HOG))
            check("postgres: it takes beacons again by itself", is_acknowledged(load))
            print(
                f"      the longest pause was {load.longest_pause():.1f} s; {load.refused} beacons are to be sent again"
            )
            small = restart_runtime("docker-compose.yml:tests/compose/small-memory.yml")
            check(
                "runtime: with too little memory it is killed, and says so",
                wait_for(lambda: is_killed_for_memory(small), PATIENCE_SECONDS),
            )
            check(
                "runtime: and started again",
                wait_for(lambda: int(docker("inspect", "--format", "{{.RestartCount}}", small)) > 2, PATIENCE_SECONDS),
            )
            restart_runtime("docker-compose.yml")
            check("runtime: given more, it takes beacons", is_acknowledged(load))
            print(f"      {load.refused} beacons are to be sent again")
        lost = load.acknowledged.keys() - stored()
        check(f"of {len(load.acknowledged):,} acknowledged events {len(lost)} were lost", not lost)
        deliver("they are")
        verify_both()
    finally:
        compose("down", "--volumes")


if __name__ == "__main__":
    main()
