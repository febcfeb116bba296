#!/bin/sh
# Hands mutated archives, specs, Dockerfiles and images to the gate: eight kinds, 2,000 of each unless told otherwise.
#   scripts/fuzz.sh [EXAMPLES_OF_EACH_KIND] [pytest's arguments]
set -eu
cd "$(dirname "$0")/.."
. scripts/python.sh
"$python" scripts/environment.py --for-fast-tests
export DOPQ_FUZZ_EXAMPLES="${1:-2000}"
[ $# -eq 0 ] || shift
exec .venv/bin/python -m pytest --numprocesses=auto --dist=load --timeout=3600 tests/intake/test_fuzz.py "$@"
