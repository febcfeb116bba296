#!/bin/sh
# Everything that a change has to pass: format, lint, types, layers, and all tests, those with a real engine included.
#   scripts/test.sh [--fast | --torch] [pytest's arguments]
# --fast leaves out what needs a Docker engine; --torch adds a training with PyTorch, whose image takes minutes to make
set -eu
cd "$(dirname "$0")/.."
fast=
case "${1:-}" in
--fast) fast=yes && shift ;;
--torch) export DOPQ_TEST_TORCH=1 && shift ;;
esac

. scripts/python.sh
"$python" scripts/environment.py "--for-${fast:+fast-}tests"
PATH="$PWD/.venv/bin:$PATH"
export PATH

failed=
gate() {
    printf '\n=== %s\n' "$1"
    title=$1 && shift
    "$@" || failed="$failed $title,"
}
gate format ruff format --check
gate lint ruff check
gate types mypy
gate layers lint-imports

# Without -m the tests run on a private engine, which ends with this command however that ends.
tests() {
    pytest="python -m pytest --numprocesses=auto --dist=loadfile"
    if [ -n "$fast" ]; then
        $pytest -m "not engine" "$@"
    else
        python -c 'from tests.fake_gpus import install_hook; from pathlib import Path; install_hook(Path(".dopq/test/hook"))'
        python scripts/private_engine.py run --path-prepend .dopq/test/hook .dopq/test/engine -- \
            sh -c 'export DOPQ_TEST_ENGINE="$DOCKER_HOST"; unset DOCKER_HOST; exec "$@"' sh $pytest "$@"
    fi
}
gate tests tests "$@"
if [ -n "$failed" ]; then
    printf 'Not passed:%s see above.\n' "$failed" >&2
    exit 1
fi
