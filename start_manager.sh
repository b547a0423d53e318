#!/usr/bin/env bash
# Runs the ComfyUI Multi-User Manager from this folder, wherever it is called from.
#
#   ./start_manager.sh start                    install what is missing, start in the background
#   ./start_manager.sh stop [--keep-instances]  end the manager; the users' ComfyUI too unless kept
#   ./start_manager.sh restart                  end and start the manager; users keep working
#   ./start_manager.sh status [--json]          manager, Caddy and each port; exit 3 when stopped
#   ./start_manager.sh test [--real] [PYTEST]   every check and test; --real: also on a real ComfyUI
#
# PYTHON=/path/to/python3.11 chooses the Python; settings come from manager.toml and environment.
set -euo pipefail
unset CDPATH
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"

START_WAIT_S=90
PY=venv/bin/python

say() { printf '%s\n' "$*"; }
fail() { printf 'start_manager.sh: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' start_manager.sh; }

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail "no Python 3.10 or newer found. Debian/Ubuntu: apt install python3 python3-venv;" \
    "openEuler/CentOS: dnf install python3.11 (or name one: PYTHON=/path/to/python3.11)"
}

# install FILE: makes venv/ if need be and installs FILE unless it is what was installed last.
install() {
  local python stamp="venv/$1.sha256" want
  if ! "$PY" -c 'import pip' 2>/dev/null; then
    python=$(find_python)
    say "Making venv/ with $("$python" --version) ..."
    "$python" -m venv --clear venv || fail "$python cannot make an environment. Debian/Ubuntu:" \
      "apt install python3-venv; openEuler/CentOS: dnf install python3-pip. Then run this again."
  fi
  # The dev file includes the other one; the Python's version decides which wheels fit.
  want=$(cat requirements*.txt <("$PY" --version) | sha256sum)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then return; fi
  say "Installing $1 ..."
  "$PY" -m pip install --quiet --disable-pip-version-check --no-input -r "$1" ||
    fail "pip could not install $1 (its reason stands above). Behind a proxy set https_proxy; with" \
      "no network run 'pip download -r $1 -d wheels' elsewhere, bring the folder here, and run" \
      "PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/wheels ./start_manager.sh start"
  printf '%s\n' "$want" >"$stamp"
}

running() { "$PY" comfyui_manager.py status >/dev/null 2>&1; }

start() {
  local first='' pid out i
  exec 9<. # one start at a time; a second one waits here, then finds the manager running
  flock 9
  install requirements.txt
  "$PY" comfyui_manager.py check >/dev/null || exit # says which setting is wrong
  if running; then
    say "Already running."
    "$PY" comfyui_manager.py status
    return
  fi
  mapfile -t paths < <("$PY" -c 'from manager.settings import load; s = load()
print(s.data_dir, s.log_path, s.database_path, "demo" if s.demo else "", s.comfyui_path, sep="\n")')
  [ -e "${paths[2]}" ] || first=yes
  (umask 077 && mkdir -p -- "${paths[0]}" && : >"${paths[0]}/manager.out") ||
    fail "cannot write to ${paths[0]} (DATA_DIR); who owns it? ls -ld shows it"
  out=${paths[0]}/manager.out
  setsid "$PY" comfyui_manager.py serve </dev/null >"$out" 2>&1 9<&- &
  pid=$!
  say "Starting ..."
  for ((i = 0; i < START_WAIT_S * 2; i++)); do
    if running; then
      "$PY" comfyui_manager.py status
      [ -z "$first" ] || say "First login: admin / admin123 (you will be asked for a new password)"
      [ -z "${paths[3]}" ] || say "No ComfyUI in ${paths[4]}: users get the built-in demo." \
        "Set COMFYUI_PATH in manager.toml (see manager.toml.example), then restart."
      return
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.5
  done
  if kill "$pid" 2>/dev/null; then say "No answer within $START_WAIT_S s, ended again." >&2; fi
  tail -n 20 -- "$out" >&2
  if [ -f "${paths[1]}" ]; then tail -n 20 -- "${paths[1]}" >&2; fi
  fail "the manager did not start; its last lines stand above (log: ${paths[1]})"
}

installed() { [ -x "$PY" ] || { say "Not running: never started in this folder."; exit "$1"; }; }

system_packages() { # what the tests need beyond Python: a browser and Chinese letters for it
  local missing=()
  command -v chromium >/dev/null || missing+=(chromium)
  fc-list :lang=zh 2>/dev/null | grep -q . || missing+=(fonts-noto-cjk)
  "$(find_python)" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "the tests need ${missing[*]}. Debian/Ubuntu: sudo apt-get install ${missing[*]}"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
}

run_tests() {
  local layers=(-m 'not real_comfyui')
  system_packages
  install requirements-dev.txt
  if [ "${1:-}" = --real ] || [ "${REAL_COMFYUI:-}" = 1 ]; then
    if [ "${1:-}" = --real ]; then shift; fi
    "$PY" tests/support/real_comfyui.py setup
    layers=()
  fi
  "$PY" -m ruff format --check .
  "$PY" -m ruff check .
  "$PY" -m mypy
  "$PY" venv/bin/lint-imports
  exec "$PY" -m pytest "${layers[@]}" "$@"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
  start) start ;;
  stop) installed 0 && exec "$PY" comfyui_manager.py stop "$@" ;;
  restart) if [ -x "$PY" ]; then "$PY" comfyui_manager.py stop --keep-instances; fi; start ;;
  status) installed 3 && exec "$PY" comfyui_manager.py status "$@" ;;
  test) run_tests "$@" ;;
  help | -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
