"""Get a real Ray for the tests: from Python packages, cached outside the checkout.

    python tests/support/real_ray.py setup    install it (a minute, 130 MB to fetch, 390 MB on disk)
    python tests/support/real_ray.py path     print the folder with its programs

``path`` exits 3 when ``setup`` has not been run to its end. What is installed is the extra
``ray[default]``, which the dashboard and with it the Jobs API need, as ``tests/data/ray.lock`` pins
it. It needs no account of its own, no accelerator, and is never imported.

Environment:
    RAY_TEST_HOME     where it lives; default for root /var/cache/comfyui-multi-user-manager/
                      real-ray, else ~/.cache/comfyui-multi-user-manager/real-ray
    RAY_TEST_PYTHON   Python >= 3.10 for it; default: the one running this program

Only the standard library is used: this runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "data" / "ray.lock"
FREE_BYTES_NEEDED = 1 << 30
NOT_READY = 3


class ProblemError(Exception):
    """What stands in the way, in words for the person at the terminal."""


def default_home() -> Path:
    """Say where the cache is: outside of any checkout, so that a fresh clone finds it filled."""
    named = os.environ.get("RAY_TEST_HOME")
    if named:
        return Path(named).expanduser().resolve()
    if os.geteuid() == 0:
        return Path("/var/cache/comfyui-multi-user-manager/real-ray")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "comfyui-multi-user-manager" / "real-ray"


class Install:
    """One lock's place on disk; another lock is installed beside it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
        version = "{}.{}".format(*sys.version_info[:2])
        self.venv = home / f"{digest}-{version}"
        self.programs = self.venv / "bin"
        self.ready = self.venv / "ready"

    @property
    def is_ready(self) -> bool:
        return self.ready.is_file() and (self.programs / "ray").is_file()


def run(*words: str, hint: str) -> None:
    """Run a step with its error output shown as it comes."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise ProblemError(f"{' '.join(words[:6])} ... ended with {done.returncode}. {hint}")


def setup(install: Install) -> None:
    """Install it; a killed setup simply starts over, cheaply."""
    install.home.mkdir(parents=True, exist_ok=True)
    with (install.home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if install.is_ready:
            return
        if shutil.disk_usage(install.home).free < FREE_BYTES_NEEDED:
            raise ProblemError(
                f"{install.home} has less than 1 GiB free; name another folder in RAY_TEST_HOME"
            )
        say("installing it")
        base = os.environ.get("RAY_TEST_PYTHON") or sys.executable
        run(base, "-m", "venv", str(install.venv), hint="On Debian: apt install python3-venv")
        pip = (str(install.programs / "python"), "-m", "pip", "--disable-pip-version-check")
        words = ("--no-input", "install", "-q", "--require-hashes", "-r", str(LOCK))
        run(*pip, *words, hint="Is there a network? See pip's lines above.")
        install.ready.touch()
        say(f"ready in {install.venv}")


def say(text: str) -> None:
    """Tell progress on standard error: standard output carries answers alone."""
    sys.stderr.write(f"real Ray: {text}\n")
    sys.stderr.flush()


def main(argv: list[str]) -> int:
    """Obey one word."""
    install = Install(default_home())
    if len(argv) != 1 or argv[0] not in {"setup", "path"}:
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        if argv[0] == "setup":
            setup(install)
            return 0
    except (ProblemError, OSError) as problem:
        say(f"cannot be set up: {problem}")
        return 1
    if not install.is_ready:
        say(f"not set up in {install.home}; run: python {sys.argv[0]} setup")
        return NOT_READY
    sys.stdout.write(f"{install.programs}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
