#!/usr/bin/env bash
# Puts the release of this checkout in the place of the one that runs, while beacons arrive.
#
# The new release comes up beside the old one, brings the schema up, and answers what the old one no longer does while
# its container is replaced; nginx looks anew for each second who is there. docs/operations.md has the way back.
set -euo pipefail
cd "$(dirname "$0")/../.."

docker compose build --quiet
interim=$(docker compose run --detach --no-deps --use-aliases runtime evothesis run --interim)
trap 'docker stop --time 60 "$interim" >/dev/null; docker rm "$interim" >/dev/null' EXIT

for _ in $(seq 300); do
  state=$(docker inspect --format '{{.State.Health.Status}} {{.State.Status}}' "$interim")
  test "$state" != "healthy running" || break
  if test "${state#* }" != running; then
    docker logs "$interim" >&2
    echo "the new release does not start; the old one runs on" >&2
    exit 1
  fi
  sleep 1
done
if test "$state" != "healthy running"; then
  echo "the new release does not answer within five minutes; the old one runs on" >&2
  exit 1
fi
docker compose up --detach --wait
