"""One run of the export as it is deployed: without pandas, which the tests bring, and which Arrow loads where it finds it."""

from __future__ import annotations

import sys


class Absent:
    """Says of pandas that it is not installed."""

    def find_spec(self, name: str, *_: object) -> None:
        """Find nothing, and let nobody else find pandas."""
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


sys.meta_path.insert(0, Absent())  # type: ignore[arg-type]

from storage import settings  # noqa: E402 - nothing is loaded before
from storage.export import run  # noqa: E402

outcome = run.run(settings.current())
if outcome.failures:
    sys.exit(str(outcome.failures))
