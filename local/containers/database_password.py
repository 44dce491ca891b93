"""Makes the database's password once, in a volume that PostgreSQL and the runtime share; nobody types it."""

import os
import secrets
from pathlib import Path

FOLDER = Path("/secrets")


def keep(name: str, text: str, mode: int) -> None:
    """Write a file whole, or not at all."""
    made = FOLDER / f"{name}.new"
    made.unlink(missing_ok=True)
    with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    made.replace(FOLDER / name)


if __name__ == "__main__":
    os.umask(0)
    password = FOLDER / "postgres-password"
    if not password.exists():
        # PostgreSQL's user reads it, and nobody else has the volume.
        keep(password.name, secrets.token_urlsafe(32), 0o444)
    keep("pgpass", f"*:*:*:evothesis:{password.read_text()}\n", 0o600)
