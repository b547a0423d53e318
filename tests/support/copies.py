"""A copy of this tree as an operator has it, with ports of its own, reached through its script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from manager.settings import ROOT
from tests.support.ports import free_ports

INSTALL_S = 500
"""A first start on a slow network."""


@dataclass(frozen=True)
class Done:
    """A finished call of the script."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Copy:
    """A copy of the tree with ports of its own."""

    folder: Path
    manager_port: int
    workspace_port: int
    env: dict[str, str]

    def call(self, *words: str, cwd: str = "/", **more: str) -> Done:
        """Run the script by its full path from another folder."""
        done = subprocess.run(
            [str(self.folder / "start_manager.sh"), *words],
            cwd=cwd,
            env=self.env | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def status(self) -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = json.loads(self.call("status", "--json").out)
        return found

    def processes(self) -> list[psutil.Process]:
        """List what runs in the copy, by its working directory or command line."""
        found = []
        for process in psutil.process_iter():
            try:
                words = [*process.cmdline(), process.cwd()]
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if any(str(self.folder) in word for word in words):
                found.append(process)
        return found

    def servers(self) -> list[psutil.Process]:
        """List the managers that run in the copy."""
        return [process for process in self.processes() if process.cmdline()[-1:] == ["serve"]]


def copy_tree(target: Path) -> None:
    """Copy what git knows or would add: no venv, no data, no log."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-coz", "--exclude-standard"],
        check=True,
        capture_output=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def bare_environment() -> dict[str, str]:
    """Give the environment of a login: pip's settings pass, this test run's do not."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "https_proxy", "http_proxy", "no_proxy")
    return {n: v for n, v in os.environ.items() if n in kept or n.startswith(("PIP_", "XDG_"))}


def make_copy(folder: Path) -> Copy:
    """Give a tree in ``folder`` one port and one gate that are free here."""
    port, external, workspace, comfyui = free_ports(4)
    settings = {
        "MANAGER_HOST": "127.0.0.1",
        "GATE_HOST": "127.0.0.1",
        "MANAGER_PORT": str(port),
        "PORTS": f"{comfyui}:{external}:{workspace}:1",
        "COMFYUI_PATH": str(folder / "no comfyui here"),
        "CARD_KIND": "cpu",
    }
    return Copy(folder, port, workspace, bare_environment() | settings)
