#!/usr/bin/env bash
# The containers of docker-compose.yml, tried: built, all healthy, a row arrives there and an edit comes back, the workers
# killed under load and back by themselves, verify finds no difference. They run under a project name of their own, and nothing of them is left.
set -euo pipefail
cd "$(dirname "$0")/.."

export COMPOSE_PROJECT_NAME=placemat-test-$$
servers="primary empathy-ledger state kafka"
workers="capture apply-empathy-ledger apply-primary audit"
running=7
scratch=$(mktemp -d)
workspace=00000000-0000-4000-8000-000000000001
storyteller=00000000-0000-4000-8000-000000000002

if docker compose version > /dev/null 2>&1; then
    compose() { docker compose "$@"; }
elif command -v docker-compose > /dev/null; then
    compose() { docker-compose "$@"; }
else
    echo "Error: Neither docker compose nor docker-compose is here." >&2
    echo "Try: install Docker with its plugin compose." >&2
    exit 1
fi

clean_up() {
    local status=$?
    trap - EXIT
    if [ "$status" != 0 ]; then
        cat "$scratch/said" || true
        compose ps || true
        compose logs --tail=30 || true
    fi
    compose down --volumes --remove-orphans > /dev/null 2>&1 || true
    rm -rf "$scratch"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }

# What it says is shown only when it fails.
quietly() { "$@" > "$scratch/said" 2>&1; }

# until_true SECONDS WHAT COMMAND…
until_true() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" > /dev/null 2>&1; do
        if ((SECONDS >= deadline)); then
            say "not within the time allowed: $what"
            return 1
        fi
        sleep 0.5
    done
}

sql() { compose exec -T "$1" psql -X -q -At -v ON_ERROR_STOP=1 -U postgres -d "${1//-/_}"; }
placemat() { compose run --rm --no-deps -T init "$@" 2> "$scratch/said"; }

container() { compose ps -q "$1"; }
state() { docker inspect -f "{{.$2}}" "$(container "$1")"; }
healthy() { [ "$(state "$1" State.Health.Status)" = healthy ]; }
restarted() { [ "$(state "$1" RestartCount)" -ge 1 ]; }
running() { [ "$(placemat status --json | grep -oE '"state": ?"running"' | wc -l)" = "$1" ]; }

stories() { sql "$1" <<< "SELECT count(*) FROM stories"; }
arrived() { [ "$(stories empathy-ledger)" -ge "$1" ]; }

# As a crash does it: what docker kill has ended, Docker does not start again.
kill_worker() {
    docker run --rm --pid host --user 0 --entrypoint python placemat-sync:local \
        -c "import os, signal; os.kill($(state "$1" State.Pid), signal.SIGKILL)"
}

# The rows that all others hang on.
first_rows() {
    echo "INSERT INTO workspaces (id, slug, name) VALUES ('$workspace', 'trial', 'Trial');"
    echo "INSERT INTO storytellers (id, workspace_id, name) VALUES ('$storyteller', '$workspace', 'Aunty June');"
}

first_rows_arrived() { [ "$(sql empathy-ledger <<< "SELECT name FROM storytellers")" = "Aunty June" ]; }

edit_came_back() { [ "$(sql primary <<< "SELECT cultural_background FROM storytellers")" = "Told over there" ]; }

# Transactions of three changes in two tables, for as long as the file FLAG exists.
load() {
    local number=0
    while [ -e "$1" ]; do
        number=$((number + 1))
        echo "BEGIN;"
        echo "INSERT INTO stories (workspace_id, storyteller_id, title, slug, content)"
        echo "VALUES ('$workspace', '$storyteller', 'Once', 'story-$number', repeat('Of some length. ', 30));"
        echo "UPDATE stories SET title = 'Once, told again' WHERE slug = 'story-$((number / 2))';"
        echo "UPDATE storytellers SET bio = 'Has told $number stories.' WHERE id = '$storyteller';"
        echo "COMMIT;"
    done
}

say "building"
quietly compose build init
say "starting"
quietly compose up -d
for service in $servers $workers; do
    until_true 120 "$service is healthy" healthy "$service"
done
until_true 60 "all workers run" running "$running"
say "all healthy"

first_rows | sql primary
until_true 30 "a row is in the Empathy Ledger" first_rows_arrived
sql empathy-ledger <<< "UPDATE storytellers SET cultural_background = 'Told over there'"
until_true 30 "an edit has come back" edit_came_back
say "a row has arrived, and an edit has come back"

touch "$scratch/flag"
load "$scratch/flag" | sql primary &
writer=$!
until_true 60 "the load arrives" arrived 100
for service in $workers; do
    kill_worker "$service"
    say "$service killed, $(stories empathy-ledger) of $(stories primary) stories applied"
    until_true 60 "$service starts again by itself" restarted "$service"
done
until_true 60 "all workers run again" running "$running"
kill -0 "$writer"
rm "$scratch/flag"
wait "$writer"
total=$(stories primary)
until_true 180 "all $total stories are in the Empathy Ledger" arrived "$total"
for service in $workers; do
    until_true 60 "$service is healthy again" healthy "$service"
done
say "all back, all $total stories applied"

placemat verify
say "verify finds no difference"
placemat audit verify
say "the audit log is whole"
