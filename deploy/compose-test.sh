#!/usr/bin/env bash
# The containers of docker-compose.yml, tried: built, all healthy, a row arrives there and an edit comes back, the workers
# killed under load and back by themselves. Then Notion is added to what runs, its simulator in its place: a project becomes
# a page, edits come back, push is killed under load, every project has one page. At the end verify finds no difference.
# They run under a project name of their own, and nothing of them is left.
set -euo pipefail
cd "$(dirname "$0")/.."

export COMPOSE_PROJECT_NAME=placemat-test-$$ COMPOSE_FILE=docker-compose.yml
image=${PLACEMAT_IMAGE:-placemat-sync:local}
servers="primary empathy-ledger state kafka"
workers="capture apply-empathy-ledger apply-primary audit"
running=7
notion_workers="capture apply-empathy-ledger apply-primary audit apply-notion push-notion fetch-notion webhooks"
notion_running=15
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

# The engine is asked, which is quicker than compose is.
container() {
    docker ps -aq --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --filter "label=com.docker.compose.service=$1" --filter label=com.docker.compose.oneoff=False
}
sql() { docker exec -i "$(container "$1")" psql -X -q -At -v ON_ERROR_STOP=1 -U postgres -d "${1//-/_}"; }
placemat() { compose run --rm --no-deps -T init "$@" 2> "$scratch/said"; }

state() { docker inspect -f "{{.$2}}" "$(container "$1")"; }
healthy() { [ "$(state "$1" State.Health.Status)" = healthy ]; }
restarted() { [ "$(state "$1" RestartCount)" -ge 1 ]; }
running() { [ "$(placemat status --json | grep -oE '"state": ?"running"' | wc -l)" = "$1" ]; }

stories() { sql "$1" <<< "SELECT count(*) FROM stories"; }
arrived() { [ "$(stories empathy-ledger)" -ge "$1" ]; }

# As a crash does it: what docker kill has ended, Docker does not start again.
kill_worker() {
    docker run --rm --pid host --user 0 --entrypoint python "$image" \
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

# What an operator puts into .env, and the simulator in Notion's place.
use_notion() {
    local script='from connectors.notion.simulator import NotionSimulator
for name, source in NotionSimulator().sources.items():
    print(f"export NOTION_{name.upper()}={source.id}")'
    eval "$(docker run --rm --entrypoint python "$image" -c "$script")"
    export NOTION_TOKEN=ntn_trial NOTION_WORKSPACE_ID=$workspace NOTION_REQUESTS_PER_MINUTE=6000 WEBHOOKS_PORT=
    export NOTION_BASE_URL=http://notion:8420
    TOKEN_KEY=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')
    export TOKEN_KEY COMPOSE_FILE=docker-compose.yml:deploy/compose/notion.yml:tests/containers/simulator.yml
}

# Somebody in Notion, with a token of their own, of projects: no words lists keys and titles, or make NAME, rename NAME NAME.
in_notion() {
    docker exec -i "$(container notion)" python - "$NOTION_PROJECTS" "$person" "$@" < tests/containers/workspace.py
}

pages() { in_notion | LC_ALL=C sort; }
projects() { sql primary <<< "SELECT id || E'\t' || name FROM projects" | LC_ALL=C sort; }
as_projects() { [ "$(pages)" = "$(projects)" ]; }
pages_made() { [ "$(pages | wc -l)" -ge "$1" ]; }
insert_project() { echo "INSERT INTO projects (workspace_id, name) VALUES ('$workspace', '$1');"; }
named() { [ "$(sql primary <<< "SELECT count(*) FROM projects WHERE name IN ('Renamed there', 'Made there')")" = 2 ]; }

# What is not signed by Notion is not taken.
unsigned_is_refused() {
    local answer
    exec 3<> "/dev/tcp/127.0.0.1/$1"
    printf 'POST /webhooks/notion HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}' >&3
    read -r answer <&3
    exec 3>&-
    case $answer in "HTTP/1.1 401 "*) ;; *) echo "$answer"; return 1 ;; esac
}

# Some 20 projects in a second, each renamed later.
load_projects() {
    local number
    for number in $(seq 300); do
        insert_project "Project $number"
        echo "UPDATE projects SET name = 'Project $((number / 2)), renamed' WHERE name = 'Project $((number / 2))';"
        echo "SELECT pg_sleep(0.03);"
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

say "adding Notion"
use_notion
quietly sql primary < schemas/domain/notion.sql
quietly compose up -d
for service in $notion_workers; do
    until_true 120 "$service is healthy" healthy "$service"
done
until_true 60 "all workers run, Notion's too" running "$notion_running"
person=$(docker logs "$(container notion)" | grep -oE 'ntn_[0-9a-f]{50}')
webhooks=$(compose port webhooks 9465)
quietly unsigned_is_refused "${webhooks#127.0.0.1:}"
say "all healthy, with Notion"

insert_project "A first one" | sql primary
until_true 30 "a project is a page" as_projects
in_notion rename "A first one" "Renamed there"
in_notion make "Made there"
until_true 60 "edits in Notion have come back" named
until_true 30 "each of them is one page" as_projects
say "a project is a page, an edit of it and a new page have come back"

load_projects | quietly sql primary &
writer=$!
until_true 60 "the projects arrive" pages_made 50
kill_worker push-notion
told=$(pages | wc -l) waiting=$(projects | wc -l)
say "push-notion killed, $told of $waiting projects are pages"
((told < waiting))
until_true 60 "push-notion starts again by itself" restarted push-notion
wait "$writer"
until_true 120 "every project has one page" as_projects
until_true 60 "push-notion is healthy again" healthy push-notion
say "all $(projects | wc -l) projects have one page each"

placemat verify
say "verify finds no difference"
placemat audit verify
say "the audit log is whole"
