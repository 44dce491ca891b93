"""Starts LocalStack with its objects in our folder; run by the Python of LocalStack's own environment.

The folder of large objects is a constant of its S3 provider, one for every user of the machine; two of them would be
in each other's way.
"""

from __future__ import annotations

import os


def main() -> None:
    """Run LocalStack until it is told to stop."""
    # Only LocalStack's own environment has it, and every module of ours can be imported in the other one.
    from localstack.runtime import main as runtime  # type: ignore[import-not-found]  # noqa: PLC0415
    from localstack.services.s3 import provider  # type: ignore[import-not-found]  # noqa: PLC0415

    provider.DEFAULT_S3_TMP_DIR = os.environ["EVOTHESIS_S3_DIR"]
    runtime.main()


if __name__ == "__main__":
    main()
