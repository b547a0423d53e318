"""The real program as a child process, for browser and whole-program tests.

``ManagerProcess`` runs ``comfyui_manager.py serve`` with its own folder, ports and Caddyfile, on
loopback only, with the demo in place of ComfyUI. ``stop`` ends it the way an operator does and
proves that nothing is left.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.support.accounts import OwnRange
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
LOOPBACK = "127.0.0.1"
OWN_PROGRAM = (sys.executable, str(ROOT / "comfyui_manager.py"))
READY_S = 60.0
END_S = 60.0


class ManagerProcess:
    """One manager with its Caddy and instances, all below ``folder``."""

    def __init__(
        self,
        folder: Path,
        *,
        rows: int = 2,
        table: Sequence[tuple[int, int, int]] | None = None,
        mode: str = "eventlet",
        settings: Mapping[str, str] | None = None,
        program: Sequence[str] = OWN_PROGRAM,
        account: int | None = None,
    ) -> None:
        """Choose ports and write nothing but a copy of the shipped Caddyfile.

        ``table`` names ComfyUI, external and workspace ports instead of free ones. ``program`` is
        how a copy elsewhere is run, ``account`` the number of the account that runs it.
        """
        self.program = list(program)
        self.own_range = OwnRange()
        self.account = account
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = free_ports(1 + 3 * rows)
        self.port = ports[0]
        if table is None:
            table = [(a, b, c) for a, b, c in zip(*[iter(ports[1:])] * 3, strict=True)]
        self.ports = [row[0] for row in table]
        self.external_ports = [row[1] for row in table]
        self.workspace_ports = [row[2] for row in table]
        self.data_dir = folder / "data"
        self.log_path = folder / "manager.log"
        self.output_path = folder / "output.txt"
        self.caddyfile = folder / "Caddyfile"
        shutil.copyfile(ROOT / "Caddyfile", self.caddyfile)
        self.env = {
            **self._clean_environment(),
            "MANAGER_HOST": LOOPBACK,
            "MANAGER_PORT": str(self.port),
            "GATE_HOST": LOOPBACK,
            "PORTS": ",".join(f"{a}:{b}:{c}:{n}" for n, (a, b, c) in enumerate(table, 1)),
            "COMFYUI_PATH": str(folder / "no-comfyui"),
            "CARD_KIND": "cpu",
            # Two managers that are root must not share accounts: each ends all of an account's.
            "ISOLATION_UID_BASE": str(self.own_range.base),
            "DATA_DIR": str(self.data_dir),
            "DATABASE_PATH": str(folder / "comfyui_manager.db"),
            "LOG_PATH": str(self.log_path),
            "CADDYFILE": str(self.caddyfile),
            # Not the operator's own, whose readers would hear of tests.
            "WEBHOOKS_FILE": str(folder / "webhooks.toml"),
            "ASYNC_MODE": mode,
            **(settings or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        if account is not None:
            for path in (folder, self.caddyfile):
                os.chown(path, account, account)

    @property
    def tls(self) -> str:
        """Give what TLS is set to; a test may change ``env`` while nothing runs."""
        return self.env.get("TLS", "off")

    @property
    def url(self) -> str:
        """Give where the page is."""
        return f"{'http' if self.tls == 'off' else 'https'}://{LOOPBACK}:{self.port}"

    @property
    def trusted(self) -> str | bool:
        """Give whom a client trusts, as ``requests`` takes it."""
        if self.tls == "off":
            return True
        own = self.data_dir / "caddy/share/caddy/pki/authorities/local/root.crt"
        return str(own) if self.tls in {"internal", "domain"} else self.env["TLS_CERT"]

    @staticmethod
    def _clean_environment() -> dict[str, str]:
        kept = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER"}
        return {name: value for name, value in os.environ.items() if name in kept}

    def start(self) -> ManagerProcess:
        """Start the program and wait until it answers; also again after it has ended."""
        self.spawn()
        try:
            wait_until(self._answers, READY_S, "the manager answers")
        except AssertionError as error:
            told = self.told()
            self.stop()
            raise AssertionError(f"{error}\n{told}") from None
        return self

    def spawn(self) -> None:
        """Start the program and do not wait for it."""
        self._wait_for_end()
        with self.output_path.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.program, "serve"],
                **self._as_account(),
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _as_account(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account, "group": self.account, "extra_groups": []}

    def kill(self) -> None:
        """Kill the manager itself, and nothing else, as it is."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the manager has ended"
        return self.health() is not None

    def health(self) -> dict[str, object] | None:
        """Ask whether it answers; None when it does not."""
        try:
            handlers = [urllib.request.ProxyHandler({}), *self._by_tls()]
            opener = urllib.request.build_opener(*handlers)
            with opener.open(f"{self.url}/healthz", timeout=5) as answer:
                content: dict[str, object] = json.load(answer)
                return content
        except (urllib.error.URLError, OSError):
            return None

    def _by_tls(self) -> list[urllib.request.BaseHandler]:
        if self.tls == "off":
            return []
        context = ssl.create_default_context(cafile=str(self.trusted))
        return [urllib.request.HTTPSHandler(context=context)]

    def told(self) -> str:
        """Give what the program printed and logged, for a failure's report."""
        texts = []
        for path in (self.output_path, self.log_path):
            if path.exists():
                text = path.read_text(encoding="utf-8", errors="replace")[-6000:]
                texts.append(f"--- {path.name}\n{text}")
        return "\n".join(texts)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of the operator's commands on this manager."""
        return subprocess.run(
            [*self.program, *command],
            **self._as_account(),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=END_S + 60,
            check=False,
        )

    def stop(self) -> None:
        """End the manager, its instances and Caddy, and prove that nothing is left."""
        ended = self.run("stop")
        self._wait_for_end()
        self._nothing_left(ended.stdout + ended.stderr)

    def _wait_for_end(self) -> None:
        process = self.process
        if process is None:
            return
        try:
            wait_until(lambda: process.poll() is not None, END_S, "the manager has ended")
        except AssertionError:
            process.kill()
            process.wait()
            raise

    def _nothing_left(self, said: str) -> None:
        try:
            wait_until(lambda: not self.processes(), END_S, "no process is left")
        except AssertionError as error:
            left = self.processes()
            for process in left:
                process.kill()
            raise AssertionError(f"{error}: {left}\n{said}\n{self.told()}") from None

    def processes(self) -> list[psutil.Process]:
        """List the living processes that belong to this manager, by what they were started with."""
        mark = str(self.folder)
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                words = [*process.cmdline(), process.environ().get("DATA_DIR", "")]
                if any(mark in word for word in [*words, *self._marks(process)]):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    @staticmethod
    def _marks(process: psutil.Process) -> list[str]:
        environ = process.environ()
        return [environ.get(name, "") for name in ("XDG_DATA_HOME", "HOME", "PWD")]

    def __enter__(self) -> ManagerProcess:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()
