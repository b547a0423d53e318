"""Installs the peer, and both sides from nothing to see what that takes.

Everything lies in a cache outside the checkout: ``$XDG_CACHE_HOME/comfyui-manager-bench``, else
below ``~/.cache``. What is there already is not installed again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.peer.words import Missing
from tests.support.server import ROOT

PACKAGES = (
    "jupyterhub==6.1.1",
    "jupyterhub-idle-culler==2.0.0",
    "jhsingle-native-proxy==0.8.3",
    # From 6.6 on the wrapper refuses every websocket of a browser.
    "tornado==6.5.10",
)
PROXY = "configurable-http-proxy@5.3.0"
NAME = "jupyterhub-6.1.1"
PATIENCE_S = 900.0


@dataclass(frozen=True)
class Footprint:
    """What an installation took: seconds, packages (of Python and Node), MiB on the disk."""

    seconds: float
    packages: int
    mebibytes: float


def cache() -> Path:
    """Give the folder for what is installed."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "comfyui-manager-bench"


def peer() -> Path:
    """Give the folder in which the peer is, and install it there if it is not.

    Raises:
        Missing: it cannot be installed here.
    """
    folder = cache() / NAME
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        install_peer(folder)
        (folder / "complete").touch()
    return folder


def install_peer(folder: Path, *pip: str) -> None:
    """Install JupyterHub, its culler, the wrapper and the proxy."""
    _venv(folder, *pip, *PACKAGES)
    node = ["npm", "install", "--prefix", str(folder / "node"), "--no-audit", "--no-fund", PROXY]
    if pip:
        node += ["--cache", str(folder / "npm-cache")]
    _run(node)
    shutil.rmtree(folder / "npm-cache", ignore_errors=True)


def install_ours(folder: Path, *pip: str) -> None:
    """Install what the manager needs, as its script does; its own files lie in the checkout."""
    for lock in ROOT.glob("requirements*.lock"):
        shutil.copy(lock, folder)
    # The script up to where it looks which command is meant.
    text, found, _ = (ROOT / "start_manager.sh").read_text("utf-8").partition("\ncommand=")
    assert found
    (folder / "install.sh").write_text(f"{text}\ninstall requirements.lock\n", "utf-8")
    given = {"PIP_NO_CACHE_DIR": "1"} if "--no-cache-dir" in pip else {}
    _run(["bash", str(folder / "install.sh")], {"PYTHON": sys.executable, **given})


def _venv(folder: Path, *words: str) -> None:
    _run([sys.executable, "-m", "venv", str(folder / "venv")])
    quiet = ("-q", "--disable-pip-version-check", "--no-input")
    _run([str(folder / "venv/bin/python"), "-m", "pip", "install", *quiet, *words])


def _run(words: list[str], more: Mapping[str, str] | None = None) -> None:
    environ = {**os.environ, **(more or {})}
    try:
        subprocess.run(words, check=True, capture_output=True, timeout=PATIENCE_S, env=environ)
    except FileNotFoundError:
        raise Missing(f"{words[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise Missing(error.stderr.decode(errors="replace")[-2000:]) from error


def from_nothing(install: Callable[..., None]) -> Footprint:
    """Install into a new folder without any cache; the folder goes away again."""
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as name:
        begun = time.monotonic()
        install(Path(name), "--no-cache-dir")
        took = time.monotonic() - begun
        return Footprint(took, _packages(Path(name)), _disk(Path(name)))


def _packages(folder: Path) -> int:
    python = {path.name.partition("-")[0] for path in folder.glob("venv/lib/*/*/*.dist-info")}
    node = sum(1 for _ in folder.glob("node/node_modules/**/package.json") if _is_package(_))
    return len(python - {"pip", "setuptools"}) + node


def _is_package(path: Path) -> bool:
    above = path.parent.parent
    return above.name == "node_modules" or (
        above.name.startswith("@") and above.parent.name == "node_modules"
    )


def _disk(folder: Path) -> float:
    used = sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
    return used / (1 << 20)
