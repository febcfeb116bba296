#!/bin/sh
# Kills a node and its Provider under load, at random and at every crash point, and counts what that cost: nothing.
#   scripts/sabotage.sh [KILLS] [pytest's arguments]      1,000 random kills unless told otherwise; as root
# It runs where the engine's process numbers mean what they say, so that leases end by the kernel's word, too.
# DOPQ_SABOTAGE_SEED repeats the moments of an earlier run, as far as the machine does.
set -eu
cd "$(dirname "$0")/.."
. scripts/python.sh
"$python" scripts/environment.py --for-tests
export DOPQ_SABOTAGE_KILLS="${1:-1000}" DOPQ_SABOTAGE_POINTS=all
[ $# -eq 0 ] || shift
exec .venv/bin/python scripts/private_engine.py run --inside .dopq/sabotage -- \
    sh -c 'export DOPQ_TEST_ENGINE="$DOCKER_HOST"; unset DOCKER_HOST; exec "$@"' sh \
    .venv/bin/python -m pytest -s -q tests/acceptance/test_sabotage.py tests/acceptance/test_sabotage_standby.py "$@"
