#!/usr/bin/env bash
# Style, then tests, on the CPU. tests/run.sh --fast: without browsers and whatever takes long. Other
# arguments go to pytest: tests/run.sh tests/suite/cli -k help
set -euo pipefail
root=$(CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/tools/environment.sh"
prepare test || exit 1
cd "$root"
# One thread per test process: the cores are kept busy by the processes.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
"$python" -m ruff check .
unset PYTHONUNBUFFERED # which would hide what a killed process has not written yet
if [ "${1:-}" = --fast ]; then
  shift
  set -- -m "not slow and not browser" "$@"
fi
exec "$python" -m pytest -n logical --maxprocesses 4 --dist worksteal --durations=30 "$@"
