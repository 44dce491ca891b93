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

# What a base backup, or a log that was put aside, is named by: no two within one second take the same name.
moment() { date -u +%Y%m%dT%H%M%S%3NZ; }
say() { printf '%s backup: %s\n' "$(date -u +%FT%TZ)" "$*"; }
# Those that are whole, or of them what `find` is asked for. Their names are their times, so the last is the newest.
bases() { find "$BACKUPS/base" -mindepth 1 -maxdepth 1 -type d ! -name '*.new' "$@" | sort; }
# The mark goes where the log has a gap: what is older than that is no base of what comes.
is_due() { test ! -e "$BACKUPS/whole" || test -z "$(bases -mmin "-$((EVERY_HOURS * 60))")"; }
begins_at() { tar -xzOf "$1/base.tar.gz" backup_label | sed -n 's/^START WAL LOCATION: .* (file \([0-9A-F]*\))$/\1/p'; }

base() {
  # Whoever comes while another is being made waits for it, and does not take it for one that was left.
  exec {lock}>"$BACKUPS/lock"
  flock "$lock"
  local made; made=$BACKUPS/base/$(moment)
  rm -rf "$BACKUPS"/base/*.new
  pg_basebackup --pgdata="$made.new" --format=tar --compress=gzip:1 --wal-method=stream --checkpoint=fast --no-password
  mv -T "$made.new" "$made"
  sync -f "$made"
  say "made $made, $(du -sh "$made" | cut -f1)"
  local oldest each newest; newest=$(bases | tail -n 1)
  # By their age, not their number: those that were made after a recovery that went wrong take no good one's place.
  for each in $(bases ! -path "$newest" -mmin "+$((EVERY_HOURS * KEPT * 60))"); do
    # What is half removed is no base backup any more.
    mv -T "$each" "$each.new"
    rm -rf "$each.new"
  done
  oldest=$(bases | head -n 1)
  pg_archivecleanup -x .partial "$BACKUPS/wal" "$(begins_at "$oldest")"
  for each in "$BACKUPS"/wal-until-*; do
    if test -d "$each" && test "${each##*-until-}" \< "$(basename "$oldest")"; then rm -rf "$each"; fi
  done
}

slot() { psql -wXAtqc "SELECT coalesce(wal_status, 'none') FROM pg_replication_slots WHERE slot_name = '$SLOT'" postgres; }

# A log that goes on somewhere else than where it ended is put aside: the server dropped what was not fetched for too long, or it
# was recovered, and has no slot. Killed anywhere, the next start does the rest: the slot, which says that all is well, comes last.
begin_anew_after_a_gap() {
  case "$(slot)" in reserved | extended | unreserved) return ;; esac
  rm -f "$BACKUPS/whole"
  if test -n "$(ls -A "$BACKUPS/wal")"; then
    say "the log does not go on where it ended; a new base backup follows"
    mv "$BACKUPS/wal" "$BACKUPS/wal-until-$(moment)"
    mkdir "$BACKUPS/wal"
  fi
  psql -wXAtqc "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$SLOT'" postgres
  psql -wXAtqc "SELECT pg_create_physical_replication_slot('$SLOT', true)" postgres >/dev/null
}

keep() {
  mkdir -p "$BACKUPS/base" "$BACKUPS/wal"
  # While it recovers, it reads what would be put aside here.
  until test "$(psql -wXAtqc 'SELECT pg_is_in_recovery()' postgres 2>/dev/null)" = f; do sleep 1; done
  begin_anew_after_a_gap
  # It comes back by itself when the server does.
  pg_receivewal --directory="$BACKUPS/wal" --slot="$SLOT" --synchronous --no-password &
  streaming=$!
  trap 'kill $streaming 2>/dev/null; wait $streaming; exit 0' TERM INT
  while kill -0 $streaming 2>/dev/null; do
    # As a program of its own it stops at what fails: asked for its success within this one, it would go on and remove others.
    if is_due; then "$0" base && touch "$BACKUPS/whole" || say "no base backup could be made; it is tried again in a minute"; fi
    sleep 60 & wait $! || true
    # It would ask for ever for what is gone; started again, it begins anew.
    if test "$(slot || true)" = lost; then kill $streaming; fi
  done
  say "nothing streams the log any more"
  exit 1
}

check() {
  ! EVERY_HOURS=$((EVERY_HOURS * 2)) is_due || { echo "no base backup of the last $((EVERY_HOURS * 2)) hours"; exit 1; }
  local active; active=$(psql -wXAtqc "SELECT active FROM pg_replication_slots WHERE slot_name = '$SLOT'" postgres)
  test "$active" = t || { echo "nothing streams the log"; exit 1; }
}

recover() {
  local into=$1 time=${2:-} from="" each
  # PostgreSQL and what follows here are to read it in the same way.
  if test -n "$time"; then time=$(date -u -d "$time" '+%F %T.%6N+00') || exit 1; fi
  test -z "$(ls -A "$into" 2>/dev/null)" || { echo "backup: $into is not empty; move what is in it away first" >&2; exit 1; }
  for each in $(bases); do
    # Its manifest is written last: at no time before that there is a state to recover to.
    test -n "$time" && test "$(date -u -d "$time" +%s%N)" -le "$(date -u -r "$each/backup_manifest" +%s%N)" || from=$each
  done
  test -n "$from" || { echo "backup: there is no base backup ${time:+from before $time }in $BACKUPS/base" >&2; exit 1; }
  mkdir -p "$into" && chmod 700 "$into"
  tar -xzf "$from/base.tar.gz" -C "$into"
  tar -xzf "$from/pg_wal.tar.gz" -C "$into/pg_wal"
  cp "$from/backup_manifest" "$into/"
  pg_verifybackup --quiet --no-parse-wal "$into"
  rm "$into/backup_manifest"
  cat >> "$into/postgresql.auto.conf" <<CONF
restore_command = 'BACKUPS="$BACKUPS" bash "$(realpath "$0")" fetch "%f" "%p"'
recovery_target_timeline = 'latest'
recovery_target_action = 'promote'
${time:+recovery_target_time = '$time'}
CONF
  touch "$into/recovery.signal"
  say "$into is $from; started, the server puts what came after it on top"
}

# For the server that recovers: a segment of its log. The one that was being written last is there in part, which is as far as
# anything was written; what was put aside belongs to base backups from before.
fetch() {
  local each
  for each in "$BACKUPS"/wal/"$1" "$BACKUPS"/wal-until-*/"$1" "$BACKUPS"/wal/"$1.partial" "$BACKUPS"/wal-until-*/"$1.partial"; do
    if test -f "$each"; then exec cp "$each" "$2"; fi
  done
  exit 1
}

case ${1:-} in
  keep | base | check | recover | fetch) "$@" ;;
  *) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit 2 ;;
esac
