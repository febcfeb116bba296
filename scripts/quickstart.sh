#!/bin/sh
# The main job, from nothing: set up, start an engine and a node, drop examples/iris into an inbox, show its results.
# All state is below .dopq/ in the checkout. See --help.
set -eu
cd "$(dirname "$0")/.."
DOPQ_QUICKSTART_BEGAN=$(date +%s.%N)
export DOPQ_QUICKSTART_BEGAN
. scripts/python.sh
"$python" scripts/environment.py
exec .venv/bin/python scripts/quickstart.py "$@"
