"""Starts LocalStack with its objects in our folder; run by the Python of LocalStack's own environment.

The folder of large objects is a constant of its S3 provider, one for every user of the machine; two of them would be
in each other's way.
"""

from __future__ import annotations

import os

from localstack.runtime.main import main  # type: ignore[import-not-found]
from localstack.services.s3 import provider  # type: ignore[import-not-found]

if __name__ == "__main__":
    provider.DEFAULT_S3_TMP_DIR = os.environ["EVOTHESIS_S3_DIR"]
    main()
