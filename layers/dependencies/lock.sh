#!/usr/bin/env bash
# Pins what the layers hold to the versions of requirements.txt, for Lambda's Python and Linux.
set -euo pipefail
cd "$(dirname "$0")/../.."
for layer in core arrow http sketches; do
  options=()
  if [ "$layer" = http ]; then options+=(--no-deps); fi
  .venv/bin/uv pip compile "layers/dependencies/$layer/requirements.in" --constraint requirements.txt "${options[@]}" \
    --python-version 3.13 --python-platform x86_64-manylinux_2_28 --generate-hashes --no-emit-index-url --no-header \
    --no-annotate -q -o "layers/dependencies/$layer/requirements.txt"
done
