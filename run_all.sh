#!/usr/bin/env bash
# Reproduces the paper on this machine: trains what is missing, runs the notebooks, renders one report.
# ./run_all.sh --help says everything. Makes its own environment (.venv) unless an active one will do.
set -euo pipefail
root=$(CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
source "$root/tools/environment.sh"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

list=
wants=(notebooks) # extras of pyproject.toml, and whether in the versions of requirements.lock
for word in "$@"; do
  case $word in
    --cluster*) wants+=(cluster) ;;
    --locked) wants+=(--locked) ;;
    --list) list=yes ;;
    -h | --help) python=$(find_python) && exec "$python" -B -P -m cqlib.suite.cli --help ;; # needs no environment
  esac
done

# a wrong option ends here, before anything is installed
if python=$(find_python 2>/dev/null); then "$python" -B -P -m cqlib.suite.cli.options "$@"; fi
if [ "$list" ]; then # with what is there: nothing is installed for it
  find_environment "${wants[@]}" 2>/dev/null || [ -x "$python" ] || python=$(find_python) || exit 1
else
  prepare "${wants[@]}" || exit 1
fi
exec "$python" -P -m cqlib.suite.cli "$@"
