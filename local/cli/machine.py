"""What this machine is set to: port, data directory, admin token, and which parts are embedded."""

from __future__ import annotations

import difflib
import fcntl
import ipaddress
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# The checkout: the template, the pixel and LocalStack's environment lie beside one another in it.
ROOT = Path(__file__).resolve().parents[2]

# What the pixel asks for, and block lists know by its name.
_RENAMED = ("/collect", *(f"/js/{part}.js" for part in ("tracking", "consent", "domains", "errors", "vitals")))
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[\w.~-]+)+", re.ASCII)

# By these names, and those of `storage.settings.Settings`, this machine is set.
NAMES = frozenset(
    f"EVOTHESIS_{name}"
    for name in (
        "ALIASES",
        "CONFIG",
        "DATA_DIR",
        "HOST",
        "INVOKE_PORT",
        "LOCALSTACK_PYTHON",
        "METRICS_PORT",
        "PORT",
        "SECRETS_ARN",
        "SECRETS_DIR",
        "TRUSTED_PROXIES",
    )
) | {"PG_BIN"}
# So alike are two names of which one is the other misspelled.
ALIKE = 0.83

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class MachineInvalid(Exception):
    """A setting of this machine is wrong, or the machine cannot do what it says; the text names it."""


def require_spelled(environ: Mapping[str, str], settings: Iterable[str]) -> None:
    """See that no variable is one of the *settings*, or of this machine's, misspelled: it would be passed over silently.

    Raises:
        MachineInvalid: one is, and the setting that it is like is not set.
    """
    known = NAMES | set(settings)
    for name in sorted(environ.keys() - known):
        # There are more of AWS's than are known here.
        if name.startswith("AWS_"):
            continue
        for meant in difflib.get_close_matches(name, sorted(known - environ.keys()), 1, ALIKE):
            raise MachineInvalid(f"{name} is not a setting; {meant} is. docs/settings.md lists all of them")


@dataclass(frozen=True, slots=True)
class Machine:
    """The settings that the runner itself reads; those of the functions are `storage.settings`."""

    host: str
    port: int
    invoke_port: int | None
    metrics_port: int | None
    data_dir: Path
    trusted_proxies: tuple[Network, ...]
    localstack_python: Path
    aliases: Mapping[str, str]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Machine:
        """Read the settings.

        Raises:
            MachineInvalid: one of them is wrong.
        """
        invoke_port = environ.get("EVOTHESIS_INVOKE_PORT")
        metrics_port = environ.get("EVOTHESIS_METRICS_PORT")
        proxies = []
        for text in filter(None, (environ.get("EVOTHESIS_TRUSTED_PROXIES") or "").replace(",", " ").split()):
            try:
                proxies.append(ipaddress.ip_network(text))
            except ValueError as error:
                raise MachineInvalid(f"EVOTHESIS_TRUSTED_PROXIES: {error}") from None
        python = environ.get("EVOTHESIS_LOCALSTACK_PYTHON") or str(ROOT / ".venv-localstack" / "bin" / "python")
        return cls(
            host=environ.get("EVOTHESIS_HOST") or "127.0.0.1",
            port=_port("EVOTHESIS_PORT", environ.get("EVOTHESIS_PORT") or "8000"),
            invoke_port=_port("EVOTHESIS_INVOKE_PORT", invoke_port) if invoke_port else None,
            metrics_port=_port("EVOTHESIS_METRICS_PORT", metrics_port) if metrics_port else None,
            data_dir=Path(environ.get("EVOTHESIS_DATA_DIR") or ".data").resolve(),
            trusted_proxies=tuple(proxies),
            localstack_python=Path(python),
            aliases=_aliases(environ.get("EVOTHESIS_ALIASES") or ""),
        )

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Be the only runner of the data directory for as long as the block runs; dying gives it up.

        Raises:
            MachineInvalid: another runner has it, or it cannot be written.
        """
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.data_dir / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MachineInvalid(f"EVOTHESIS_DATA_DIR: cannot write {self.data_dir}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise MachineInvalid(
                f"another `evothesis run` uses {self.data_dir}; stop it, or set EVOTHESIS_DATA_DIR"
            ) from None
        else:
            yield
        finally:
            os.close(lock)

    def secret(self, name: str) -> str:
        """A secret of this data directory, made on first use and readable by its owner alone."""
        file = self.data_dir / name
        if not file.exists() or not file.read_text().strip():
            made = self.data_dir / f"{name}.new"
            made.unlink(missing_ok=True)
            with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                stream.write(secrets.token_urlsafe(32) + "\n")
            made.replace(file)
        return file.read_text().strip()


def _port(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 65_535:
        raise MachineInvalid(f"{name}: {text!r} is not a port from 0 to 65535")
    return int(text)


def _aliases(text: str) -> dict[str, str]:
    """`/stats.js=/js/tracking.js /in=/collect`: further names of paths, which no block list knows."""
    aliases: dict[str, str] = {}
    for pair in text.replace(",", " ").split():
        alias, _, target = pair.partition("=")
        if not (_PATH.fullmatch(alias) and _PATH.fullmatch(target)):
            raise MachineInvalid(f"EVOTHESIS_ALIASES: {pair!r} is not ALIAS=PATH, such as /in=/collect")
        if target not in _RENAMED:
            raise MachineInvalid(f"EVOTHESIS_ALIASES: {target} has no other names; these have: {', '.join(_RENAMED)}")
        if alias in aliases or alias.startswith("/js/"):
            raise MachineInvalid(f"EVOTHESIS_ALIASES: {alias} is taken; give each path one meaning")
        aliases[alias] = target
    return aliases
