#!/bin/sh
# Writes the lock files anew: what an image needs, what the demo needs, what the tests need; one version of each package.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python -m pip --disable-pip-version-check install --quiet uv

lock() {
    file=$1
    shift
    .venv/bin/uv pip compile pyproject.toml "$@" --upgrade --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --quiet --output-file "$file"
    echo "$file: $(grep -c == "$file") packages"
}

lock requirements-dev.lock --extra embedded --extra dev
lock requirements.lock --extra embedded --constraints requirements-dev.lock
lock requirements-run.lock --constraints requirements-dev.lock
