# Sourced by run_all.sh and tests/run.sh, which set $root. Finds a Python and makes the environment once.

say() { printf '%s\n' "$*" >&2; }

# find_python: prints a Python of at least 3.11. The user's own `python3` comes first.
find_python() {
  local candidate
  for candidate in "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" "${CONDA_PREFIX:+$CONDA_PREFIX/bin/python}" \
    python3 python3.14 python3.13 python3.12 python3.11 "$root/.venv/bin/python"; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  say "Python 3.11 or newer is needed and was not found: install it, then start again"
  return 1
}

# find_environment [EXTRA …]: sets $python to one whose environment satisfies the project: the active one as it is,
# else .venv in the repository. Status 1, and $python that of .venv, if there is none.
find_environment() {
  local active unmet
  for active in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}"; do
    if [ -n "$active" ] && [ "$active" != "$root/.venv" ] && [ -x "$active/bin/python" ]; then
      python=$active/bin/python
      if unmet=$("$python" -B "$root/tools/satisfied.py" "$@" 2>&1); then return; fi
      say "the active environment ($active) lacks ${unmet##*$'\n'}; using $root/.venv instead"
    fi
  done
  python=$root/.venv/bin/python
  [ -x "$python" ] && "$python" -B "$root/tools/satisfied.py" --installed "$@" >/dev/null 2>&1
}

# prepare [EXTRA …]: as find_environment, but .venv is made or completed when it has to be.
prepare() { find_environment "$@" || make_environment "$@"; }

# make_environment [EXTRA …]: makes .venv if need be and installs the project with the extras into it.
make_environment() {
  local base installing ticker status=0 IFS=,
  local extras=${1:+[$*]}
  base=$(find_python) || return 1
  if ! { [ -x "$python" ] && "$python" -m pip --version && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; } >/dev/null 2>&1; then
    say "making the environment .venv with $("$base" --version)"
    if ! "$base" -m venv --clear "$root/.venv" >/dev/null 2>&1; then
      say "$base cannot make a virtual environment in $root: install its venv module (Debian, Ubuntu: apt-get install python3-venv), then start again"
      return 1
    fi
  fi
  say "installing the packages into .venv (once; 1 to 10 minutes)"
  SECONDS=0
  "$python" -m pip install --quiet --disable-pip-version-check --editable "$root$extras" >&2 &
  installing=$!
  (while sleep 30 >/dev/null 2>&1; do say "still installing, $SECONDS s"; done) &
  ticker=$!
  trap 'kill "$installing" "$ticker" 2>/dev/null || true; exit 3' INT TERM
  wait "$installing" || status=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  trap - INT TERM
  if [ "$status" -ne 0 ]; then
    say "the packages could not be installed (see above); start the same command again"
    return 1
  fi
  say "installed in $SECONDS s"
}
