#!/usr/bin/env bash
# Reproduces the paper on this machine: trains what is missing, runs the notebooks, renders one report.
# ./run_all.sh --help says everything. Makes its own environment (.venv) unless an active one will do.
set -euo pipefail
root=$(CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
source "$root/tools/environment.sh"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

wants=(notebooks) # extras of pyproject.toml, and whether in the versions of requirements.lock
for word in "$@"; do
  case $word in --cluster*) wants+=(cluster) ;; --locked) wants+=(--locked) ;; esac
done

# The options are checked first, with the standard library alone: a wrong one costs nothing and writes nothing.
python=$(find_python) || exit 1
answer=$("$python" -B -P -m cqlib.cli.options "$@") || exit $?
if [ -n "$answer" ]; then # to --help, or the names for --list; what rows take is measured where there is an environment
  printf '%s\n' "$answer"
  case $answer in usage:*) exit 0 ;; esac
  find_environment "${wants[@]}" 2>/dev/null && exec "$python" -P -m cqlib.cli.run_all "$@"
  say "time and memory are shown once there is an environment: ./run_all.sh makes it"
  exit 0
fi

prepare "${wants[@]}" || exit 1
exec "$python" -P -m cqlib.cli.run_all "$@"
