# Sourced by run_all.sh and tests/run.sh, which set $root. Finds a Python and makes the environment once.

say() { printf '%s\n' "$*" >&2; }

case $root in # a path of Python's modules, and of programs, is cut at a colon
  *:*) say "$root: Python has no environment in a folder with ':' in its path: move the repository"; exit 1 ;;
esac

# find_python: prints a Python of at least 3.11. An active environment comes first, then the user's own `python3`.
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
  say "Python 3.11 or newer is needed and was not found: install it (with uv: uv python install), then start again"
  return 1
}

# find_environment [--locked] [EXTRA …]: sets $python to a Python whose environment has all that the project needs: that
# of the active environment, as it is, else of .venv in the repository. If neither has it, $python is that of .venv and
# the status is 1.
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

# prepare [--locked] [EXTRA …]: as find_environment, but .venv is made or completed when it has to be. Where flock is
# installed, one command at a time does so: one that had to wait finds what the other has made.
prepare() {
  local status=0
  find_environment "$@" && return
  if command -v flock >/dev/null && [ -w "$root" ]; then
    exec 9>>"$root/.venv.lock"
    flock --nonblock 9 || { say "another command is making the environment .venv: waiting for it"; flock 9; }
  fi
  find_environment "$@" 2>/dev/null || make_environment "$@" || status=$?
  exec 9>&- # whatever comes next is not to hold the lock
  return "$status"
}

# make_environment [--locked] [EXTRA …]: makes .venv if need be and installs the project with the extras into it, by uv
# where it is there, else by pip; --locked: in the versions of requirements.lock.
make_environment() {
  local base installing ticker why word extras="" status=0
  base=$(find_python) || return 1
  local venv=("$base" -m venv --clear) install=("$python" -m pip install --quiet)
  # modules are compiled at their first use, as after uv, unless Python has been told not to keep them
  [ -n "${PYTHONDONTWRITEBYTECODE:-}" ] || install+=(--no-compile)
  if command -v uv >/dev/null; then
    venv=(uv venv --clear --python "$base") install=(uv pip install --quiet --python "$python")
  fi
  for word in "$@"; do
    if [ "$word" = --locked ]; then install+=(--constraint "$root/requirements.lock"); else extras+=${extras:+,}$word; fi
  done
  if ! { [ -x "$python" ] && "${install[@]}" --help && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; } >/dev/null 2>&1; then
    say "making the environment .venv with $("$base" --version)"
    if ! why=$("${venv[@]}" "$root/.venv" 2>&1); then
      say "$base cannot make a virtual environment in $root${why:+ (${why##*$'\n'})}: install its venv module (Debian, Ubuntu: apt-get install python3-venv) or uv, then start again"
      return 1
    fi
  fi
  say "installing the packages into .venv (once; 1 to 10 minutes)"
  SECONDS=0
  PIP_DISABLE_PIP_VERSION_CHECK=1 "${install[@]}" --editable "$root${extras:+[$extras]}" >&2 &
  installing=$!
  (while sleep 30 >/dev/null 2>&1; do say "still installing, $SECONDS s"; done) 9>&- &
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
