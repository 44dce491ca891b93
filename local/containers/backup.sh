#!/usr/bin/env bash
# Keeps PostgreSQL recoverable up to its last moment: a base backup each day, and its log as it is written, by PostgreSQL's
# own programs. Where the server is, and who asks, is libpq's environment (PGHOST, PGUSER, …).
#
#   backup.sh keep                      the service: streams the log, and makes a base backup when one is due
#   backup.sh base                      makes one now
#   backup.sh check                     fails where the last base backup is too old or nothing streams
#   backup.sh recover DIRECTORY [TIME]  a data directory as it was last, or at a time such as "2026-01-31 12:00:00+00"
set -euo pipefail
BACKUPS=${BACKUPS:-/backups}
EVERY_HOURS=${BACKUP_EVERY_HOURS:-24}
KEPT=${BACKUPS_KEPT:-2}
SLOT=evothesis_backup
password=${PGPASSWORD_FILE:-/secrets/postgres-password}
test ! -r "$password" || PGPASSWORD=$(cat "$password")
export PGPASSWORD PGCONNECT_TIMEOUT=5

say() { printf '%s backup: %s\n' "$(date -u +%FT%TZ)" "$*"; }
# Their names are their times, so the last of them is the newest.
bases() { find "$BACKUPS/base" -mindepth 1 -maxdepth 1 -type d ! -name '*.new' | sort; }
is_due() { test -z "$(find "$BACKUPS/base" -mindepth 1 -maxdepth 1 -type d ! -name '*.new' -mmin "-$((EVERY_HOURS * 60))")"; }
begins_at() { tar -xzOf "$1/base.tar.gz" backup_label | sed -n 's/^START WAL LOCATION: .* (file \([0-9A-F]*\))$/\1/p'; }

base() {
  local made; made=$BACKUPS/base/$(date -u +%Y%m%dT%H%M%SZ)
  rm -rf "$BACKUPS"/base/*.new
  pg_basebackup --pgdata="$made.new" --format=tar --compress=gzip:1 --wal-method=stream --checkpoint=fast --no-password
  mv "$made.new" "$made"
  sync -f "$made"
  say "made $made, $(du -sh "$made" | cut -f1)"
  bases | head -n "-$KEPT" | xargs -r rm -rf
  pg_archivecleanup -x .partial "$BACKUPS/wal" "$(begins_at "$(bases | head -n 1)")"
}

# What the server dropped before it was streamed is a gap: what came before it is of use to older base backups alone.
mend_gap() {
  local dropped; dropped=$(psql -XAtqc "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
    WHERE slot_name = '$SLOT' AND wal_status = 'lost'" postgres | wc -l)
  test "$dropped" -eq 0 || {
    say "the log was not streamed for too long and has a gap; a new base backup follows"
    mv "$BACKUPS/wal" "$BACKUPS/wal-until-$(date -u +%Y%m%dT%H%M%SZ)"
    mkdir -p "$BACKUPS/wal"
    base
  }
}

keep() {
  mkdir -p "$BACKUPS/base" "$BACKUPS/wal"
  until pg_isready --quiet; do sleep 1; done
  mend_gap
  pg_receivewal --directory="$BACKUPS/wal" --slot="$SLOT" --create-slot --if-not-exists --no-password
  # It comes back by itself when the server does.
  pg_receivewal --directory="$BACKUPS/wal" --slot="$SLOT" --synchronous --no-password &
  streaming=$!
  trap 'kill $streaming 2>/dev/null; wait $streaming; exit 0' TERM INT
  while kill -0 $streaming 2>/dev/null; do
    ! is_due || base || say "no base backup could be made; it is tried again in a minute"
    sleep 60 & wait $! || true
  done
  say "nothing streams the log any more"
  exit 1
}

check() {
  ! EVERY_HOURS=$((EVERY_HOURS * 2)) is_due || { echo "no base backup of the last $((EVERY_HOURS * 2)) hours"; exit 1; }
  local active; active=$(psql -XAtqc "SELECT active FROM pg_replication_slots WHERE slot_name = '$SLOT'" postgres)
  test "$active" = t || { echo "nothing streams the log"; exit 1; }
}

recover() {
  local into=$1 time=${2:-} from="" each
  test -z "$(ls -A "$into" 2>/dev/null)" || { echo "backup: $into is not empty; move what is in it away first" >&2; exit 1; }
  for each in $(bases); do
    # Its name is when it was begun, and it is whole some time later.
    test -n "$time" && test "$(date -u -d "$time" +%Y%m%dT%H%M%SZ)" \< "$(basename "$each")" || from=$each
  done
  test -n "$from" || { echo "backup: there is no base backup ${time:+from before $time }in $BACKUPS/base" >&2; exit 1; }
  mkdir -p "$into" && chmod 700 "$into"
  tar -xzf "$from/base.tar.gz" -C "$into"
  tar -xzf "$from/pg_wal.tar.gz" -C "$into/pg_wal"
  cp "$from/backup_manifest" "$into/"
  pg_verifybackup --quiet --no-parse-wal "$into"
  rm "$into/backup_manifest"
  # The segment that was being written last is there in part, which is as far as anything was written.
  cat >> "$into/postgresql.auto.conf" <<CONF
restore_command = 'cp "$BACKUPS/wal/%f" "%p" 2>/dev/null || cp "$BACKUPS/wal/%f.partial" "%p" 2>/dev/null'
recovery_target_timeline = 'latest'
recovery_target_action = 'promote'
${time:+recovery_target_time = '$time'}
CONF
  touch "$into/recovery.signal"
  say "$into is $from; started, the server puts what came after it on top"
}

case ${1:-} in
  keep | base | check | recover) "$@" ;;
  *) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit 2 ;;
esac
