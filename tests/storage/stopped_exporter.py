"""An exporter that stops (SIGSTOP) when its first object is written, before the second, and goes on when it is told to."""

import os
import signal
import threading

from storage import objects, settings
from storage.export import run

real, calls = objects.write, []
# Both buckets are written to at once, and one that is stopped in the middle of a request holds its key in LocalStack.
one_at_a_time = threading.Lock()


def write(*arguments, **options):
    with one_at_a_time:
        calls.append(arguments)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        return real(*arguments, **options)


if __name__ == "__main__":
    objects.write = write
    outcome = run.run(settings.current())
    raise SystemExit(1 if outcome.failures else 0)
