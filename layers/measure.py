"""Measures what each function weighs on Lambda with its layers, and fails when one is over the limit.

    python layers/measure.py

Lambda refuses a function whose code and layers are over 250 MB unzipped:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from emulator import intrinsics

ROOT = Path(__file__).resolve().parents[1]
LIMIT_BYTES = 250 * 1024 * 1024


def size(folder: Path) -> int:
    """How many bytes lie under *folder*, without what Python compiles on the fly."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def layer_size(name: str, resource: dict[str, dict[str, str]], workdir: Path) -> int:
    """What a layer weighs once it is built."""
    content = ROOT / resource["Properties"]["ContentUri"]
    requirements = content / "requirements.txt"
    if not requirements.exists():
        return size(content)
    target = workdir / name
    no_dependencies = ["--no-deps"] if resource["Metadata"]["BuildMethod"] == "makefile" else []
    subprocess.run(
        [shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv", "pip", "install", "--quiet", "--target", target,
         "--python-version", "3.13", "--python-platform", "x86_64-manylinux_2_28", "--only-binary", ":all:",
         "--require-hashes", "--requirement", requirements, *no_dependencies],
        check=True,
    )  # fmt: skip
    return size(target)


def main() -> int:
    """Print a line a function; the exit status is 1 when one is too heavy."""
    document = intrinsics.read(ROOT / "sam-template.yaml")
    resources = document["Resources"]
    inherited = document["Globals"]["Function"]["Layers"]
    with tempfile.TemporaryDirectory() as workdir:
        layers = {
            name: layer_size(name, resource, Path(workdir))
            for name, resource in resources.items()
            if resource["Type"] == "AWS::Serverless::LayerVersion"
        }
    code = size(ROOT / document["Globals"]["Function"]["CodeUri"])
    heaviest = 0
    for name, resource in resources.items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        used = [layer["Ref"] for layer in inherited + resource["Properties"].get("Layers", [])]
        total = code + sum(layers[layer] for layer in used)
        heaviest = max(heaviest, total)
        print(f"{name:16} {total / 1024**2:6.1f} MB of {LIMIT_BYTES / 1024**2:.0f} MB in {len(used)} layers")
    return int(heaviest > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main())
