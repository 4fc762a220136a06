#!/usr/bin/env bash
# Installs what is missing and runs the tests; arguments go to pytest: scripts/test.sh -k checkpoint
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/scripts/setup.sh"
cd "$root"

# Two processes of one thread each, unless given: small models gain nothing from more threads.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec .venv/bin/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 "$@"
