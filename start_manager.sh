#!/usr/bin/env bash
# Runs the ComfyUI Multi-User Manager from its own folder, wherever it is called from.
#
#   ./start_manager.sh start                    install what is missing, start in the background
#   ./start_manager.sh stop [--keep-instances]  end the manager; the users' ComfyUI too unless kept
#   ./start_manager.sh restart                  end and start the manager; users keep working
#   ./start_manager.sh status [--json]          manager, Caddy and each port; exit 3 when stopped
#   ./start_manager.sh users list|create|…      accounts, also when nobody can log in; users --help
#   ./start_manager.sh first-admin              make the first account and show how to log in; start does it
#   ./start_manager.sh maintenance on|off|status   start nothing any more; what runs works on
#   ./start_manager.sh doctor [--json]          what is in order, what is not, and what to do
#   ./start_manager.sh notify-test              send each webhook a message and say how it went
#   ./start_manager.sh retention [--apply]      what is older than RETENTION_DAYS; takes it away
#   ./start_manager.sh logs [-f]                the log; --port 8001, or --instance USER
#   ./start_manager.sh audit [--lines]          whether the audit is whole, or all of it
#   ./start_manager.sh backup [FILE|FOLDER]     all that counts into one file, also while it runs
#   ./start_manager.sh restore FILE             put a backup back; what was there is kept aside
#   ./start_manager.sh upgrade [SOURCE [REF]]   a newer version by git; users keep working
#   ./start_manager.sh install-service          write the systemd unit; --print shows it
#   ./start_manager.sh install-comfyui          how to install ComfyUI here; --yes does it
#   ./start_manager.sh test [--real] [PYTEST]   every check and test; --real: also on a real ComfyUI
#                                               and a real Ray; --slurm: those on a real Slurm alone
#
# PYTHON=/path/to/python3.11 chooses the Python; settings come from manager.toml and environment.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")"
PY=venv/bin/python
START_WAIT_S=90

say() { printf '%s\n' "$*"; }
fail() { say "start_manager.sh: $*" >&2; exit 1; }
manager() { "$PY" comfyui_manager.py "$@"; }
installed() { "$PY" -c 'import manager.cli' 2>/dev/null; }

operate() { # run an operator's command where the caller stands: file names are his
  local home=$PWD
  installed || install requirements.lock >&2
  cd -- "$OLDPWD" 2>/dev/null || true
  exec "$home/$PY" "$home/comfyui_manager.py" "$command" "$@"
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      say "$candidate"
      return
    fi
  done
  fail "no Python 3.10 or newer found. Debian/Ubuntu: apt install python3 python3-venv;" \
    "openEuler/CentOS: dnf install python3.11 (another one: PYTHON=/path/to/python3.11)"
}

install() { # install FILE: make venv/ if need be, install FILE unless it was installed last time
  local python want stamp="venv/$1.sha256"
  if ! "$PY" -c 'import pip' 2>/dev/null; then
    python=$(find_python)
    say "Making venv/ with $("$python" --version) ..."
    "$python" -m venv --clear venv || fail "$python cannot make an environment. Debian/Ubuntu:" \
      "apt install python3-venv; openEuler/CentOS: dnf install python3-pip. Then run this again."
  fi
  want=$("$PY" --version | cat - requirements*.lock | sha256sum)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then return; fi
  say "Installing $1 ..."
  "$PY" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$1" ||
    fail "pip could not install $1; its reason stands above. Behind a proxy set https_proxy. A hash" \
      "that does not match means that a package is not the one that was tried: use another index." \
      "With no network: 'pip download -r $1 -d wheels' elsewhere, bring that folder here, and run" \
      "PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/wheels ./start_manager.sh start"
  say "$want" >"$stamp"
}

start() {
  local settings data log pid tries
  exec 9<. # one start at a time: a second one waits here, then finds the manager running
  flock 9
  install requirements.lock
  settings=$(manager check) || exit # it has said which setting is wrong
  if manager status >/dev/null; then
    say "Already running." && manager status && manager first-admin && return
  fi
  data=$(sed -n 's/^DATA_DIR = //p' <<<"$settings")
  log=$(sed -n 's/^LOG_PATH = //p' <<<"$settings")
  (umask 077 && mkdir -p -- "$data" && : >"$data/manager.out") ||
    fail "DATA_DIR = $data cannot be written; 'ls -ld $data' shows whose it is"
  manager first-admin || [ $? != 2 ] || exit 2 # here: a password that is made is for a terminal alone
  setsid "$PY" comfyui_manager.py serve </dev/null >"$data/manager.out" 2>&1 9<&- &
  pid=$!
  say "Starting ..."
  for ((tries = START_WAIT_S; tries > 0; tries--)); do
    if [[ $(manager status 2>/dev/null) == "manager: answers"* ]]; then
      manager status
      return
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.5
  done
  if kill "$pid" 2>/dev/null; then say "No answer in time; ended again." >&2; fi
  tail -qn 20 -- "$log" "$data/manager.out" >&2 2>/dev/null || true
  fail "the manager did not start; its last lines stand above, the rest in $log"
}

switch() { # switch COMMIT: take its files; the operator's own lines in the Caddyfile stay
  local done=0
  cp -p Caddyfile Caddyfile.kept || return
  git checkout --quiet -- Caddyfile && git reset --quiet --keep "$1" || done=1
  mv -f Caddyfile.kept Caddyfile
  return $done
}

keep_packages() { # keep_packages FOLDER COMMIT...: fetch what each needs, so that no network is needed later
  local folder=$1 commit
  shift
  for commit in "$@"; do
    git show "$commit:requirements.lock" >"$folder/requirements.lock" &&
      "$PY" -m pip download --quiet --disable-pip-version-check --no-input --require-hashes \
        --no-deps -r "$folder/requirements.lock" -d "$folder" || return
  done
}

undo_upgrade() { # undo_upgrade COMMIT DATABASE COPIES: as it was; COPIES of the database were there before
  local copy aside
  manager stop --keep-instances || true
  copy=$(comm -13 <(say "$3") <(ls -- "$2".backup-before-* 2>/dev/null))
  if [ -n "$copy" ]; then
    aside="$2.failed-upgrade-$(date +%Y%m%d-%H%M%S)"
    mv -- "$2" "$aside" && mv -- "$copy" "$2" && rm -f -- "$2"-wal "$2"-shm
    say "$aside: the database as the failed upgrade left it" >&2
  fi
  switch "$1"
}

upgradable() { # whether nothing of the operator's would be lost
  [ "$(git rev-parse --show-toplevel 2>&1)" = "$(pwd -P)" ] ||
    fail "this folder did not come by git, or git does not trust it ('git status' tells);" \
      "docs/operations.md, Upgrade, has the way without git"
  [ -z "$(git status --porcelain --untracked-files=no -- . ':!Caddyfile')" ] ||
    fail "files of the program were changed here ('git status' lists them). Settings belong into" \
      "manager.toml; put the rest aside with 'git stash', then run this again"
}

upgrade() { # upgrade [SOURCE [REF]]: what git fetch takes; without it where this clone came from
  local settings database copies before after
  upgradable
  installed || install requirements.lock
  settings=$(manager check) || exit
  database=$(sed -n 's/^DATABASE_PATH = //p' <<<"$settings")
  git fetch --quiet "$@" || fail "git could not fetch; its reason stands above. Nothing was changed."
  before=$(git rev-parse HEAD) after=$(git rev-parse FETCH_HEAD)
  if git merge-base --is-ancestor "$after" "$before"; then say "Nothing newer." && return; fi
  git merge-base --is-ancestor "$before" "$after" ||
    fail "what was fetched does not follow what is here: this clone has commits of its own. Merge" \
      "them yourself, then ./start_manager.sh restart. Nothing was changed."
  if systemctl is-active --quiet comfyui-manager 2>/dev/null && manager status >/dev/null; then
    fail "it runs as a systemd service: 'sudo systemctl stop comfyui-manager' (users go on working)," \
      "this again as the account that owns the folder, then 'sudo systemctl start comfyui-manager'"
  fi
  say "From $(git describe --tags --always "$before") to $(git describe --tags --always "$after")"
  if [ -e "$database" ]; then manager backup; fi
  if ! manager status >/dev/null; then
    if switch "$after" && (install requirements.lock); then
      say "Nothing ran. './start_manager.sh start' starts the new version." && return
    fi
    switch "$before"
    fail "the new version cannot be installed; the reason stands above. The files are as they were."
  fi
  wheels=$(mktemp -d)
  trap 'rm -rf -- "$wheels"' EXIT
  if ! git diff --quiet "$before" "$after" -- requirements.lock; then
    keep_packages "$wheels" "$before" "$after" || fail "pip could not fetch the packages of the new" \
      "version; its reason stands above. Nothing was changed, and the manager runs on."
    export PIP_NO_INDEX=1 PIP_FIND_LINKS=$wheels
  fi
  copies=$(ls -- "$database".backup-before-* 2>/dev/null || true)
  manager stop --keep-instances
  if switch "$after" && ./start_manager.sh start; then return; fi
  undo_upgrade "$before" "$database" "$copies" && ./start_manager.sh start ||
    fail "going back failed too; the reasons stand above. Users' ComfyUI run on."
  fail "the new version did not start; the reason stands above. The one before runs again."
}

system_packages() { # what the tests need beyond Python: a browser, and Chinese letters for it
  local missing=()
  command -v chromium >/dev/null || missing+=(chromium)
  command -v openssl >/dev/null || missing+=(openssl)
  command -v bwrap >/dev/null || missing+=(bubblewrap)
  fc-list :lang=zh 2>/dev/null | grep -q . || missing+=(fonts-noto-cjk)
  "$(find_python)" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "the tests need ${missing[*]}. Debian/Ubuntu: sudo apt-get install ${missing[*]}"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
}

test_on_slurm() { # Slurm has to run as root, with accounts and a munge of its own
  if [ "$(id -u)" != 0 ]; then fail "a Slurm for tests can be begun by root alone"; fi
  if ! command -v slurmctld >/dev/null || ! command -v slurmd >/dev/null ||
    ! command -v sbatch >/dev/null || ! command -v munged >/dev/null; then
    command -v apt-get >/dev/null ||
      fail "install Slurm (slurmctld, slurmd, its commands) and munge, then run this again"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends slurmctld slurmd \
      slurm-client munge </dev/null
  fi
  install requirements-dev.lock
  exec "$PY" -m pytest -n 0 -m slurm "$@" tests/engines
}

run_tests() {
  local layers=(-m 'not real_comfyui and not ray and not slurm')
  if [ "${1:-}" = --slurm ]; then shift && test_on_slurm "$@"; fi
  if [ "${1:-}" = --real ]; then REAL_COMFYUI=1 && shift; fi
  system_packages
  install requirements-dev.lock
  if [ "${REAL_COMFYUI:-}" = 1 ]; then
    layers=(-m 'not slurm')
    "$PY" tests/support/real_comfyui.py setup && "$PY" tests/support/real_ray.py setup
  fi
  "$PY" -m ruff format --check .
  "$PY" -m ruff check .
  "$PY" -m mypy
  "$PY" venv/bin/lint-imports
  "$PY" -m tests.support.audit # what is known against our packages, where a database can be reached
  # Two at a time, a file as a whole: most tests wait for processes. -n 0 behind it: one by one.
  exec "$PY" -m pytest -n 2 --dist loadfile "${layers[@]}" "$@"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
  start) start ;;
  restart) if installed; then manager stop --keep-instances; fi; start ;;
  stop | status) installed || { say "manager: not running"; [ "$command" = stop ] || exit 3; exit; }
    manager "$command" "$@" ;;
  users | maintenance | audit | backup | restore | doctor | logs | first-admin | install-service | install-comfyui | notify-test | retention) operate "$@" ;;
  upgrade) upgrade "$@" ;;
  test) run_tests "$@" ;;
  *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' start_manager.sh >&2; exit 2 ;;
esac
