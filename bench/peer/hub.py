"""One JupyterHub with its proxy, and a user's place in it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import requests
import websocket

from bench.seats import ASK_S, PATIENCE_S, listens, until
from tests.support.ports import free_ports
from tests.support.server import LOOPBACK, ROOT

PASSWORD = "a password for all"
END_S = 40.0
CONFIG = Path(__file__).with_name("hub_config.py")


class Hub:
    """JupyterHub, configurable-http-proxy and, with an idle limit, the culler; all on loopback."""

    def __init__(
        self,
        installed: Path,
        folder: Path,
        users: Sequence[str],
        *,
        flags: Sequence[str] = ("--demo-zero-boot",),
        interval: int = 0,
        idle_limit: int = 0,
    ) -> None:
        """Write the plan; ``interval`` (s) 0 leaves JupyterHub's own."""
        folder.mkdir(parents=True)
        ports = free_ports(3 + len(users))
        self.url = f"http://{LOOPBACK}:{ports[0]}"
        self.ports = dict(zip(users, ports[3:], strict=True))
        self.token = secrets.token_hex(32)
        self._folder = folder
        self._python = installed / "venv/bin/python"
        plan = {
            "folder": str(folder),
            "url": self.url,
            "proxy_api": f"http://{LOOPBACK}:{ports[1]}",
            "hub_url": f"http://{LOOPBACK}:{ports[2]}",
            "proxy": [str(installed / "node/node_modules/.bin/configurable-http-proxy")],
            "python": str(self._python),
            "wrapper": str(installed / "venv/bin/jhsingle-native-proxy"),
            "token": self.token,
            "password": PASSWORD,
            "ports": self.ports,
            "flags": list(flags),
            "demo": str(ROOT / "demo/main.py"),
            "demo_python": sys.executable,
            "interval": interval,
            "idle_limit": idle_limit,
        }
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Hub:
        """Start the Hub, also again, and wait until it answers."""
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        env |= {"BENCH_PLAN": str(self._folder / "plan.json"), "BENCH_FOLDER": str(self._folder)}
        with (self._folder / "hub.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self._python), "-m", "jupyterhub", "-f", str(CONFIG)],
                cwd=self._folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._is_up, PATIENCE_S)
        return self

    def _is_up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError((self._folder / "hub.log").read_text(errors="replace")[-3000:])
        with contextlib.suppress(requests.RequestException):
            return self.api("GET", "").ok
        return False

    def api(self, method: str, path: str, body: object = None) -> requests.Response:
        """Ask the Hub's API."""
        url, headers = f"{self.url}/hub/api/{path}", {"Authorization": f"token {self.token}"}
        return requests.request(method, url, json=body, headers=headers, timeout=PATIENCE_S)

    def kill(self) -> None:
        """Kill the Hub itself, as it is."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def core(self) -> list[int]:
        """Give the pids of Hub, proxy and culler."""
        words = ("jupyterhub", "configurable-http-proxy", "jupyterhub_idle_culler")
        found = []
        for process in self.processes():
            line = " ".join(process.cmdline()[:4])
            if "jhsingle" not in line and any(word in line for word in words):
                found.append(process.pid)
        return found

    def processes(self) -> list[psutil.Process]:
        """List all living processes that began here, by what their environment says."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get("BENCH_FOLDER") == str(self._folder)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def stop(self) -> None:
        """End the Hub and whatever it left."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_S)
        while left := self.processes():
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(ASK_S)
        if self.process is not None:
            self.process.wait()

    def __enter__(self) -> Hub:
        """Start."""
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()


class Peer:
    """A user of JupyterHub."""

    def __init__(self, hub: Hub, name: str) -> None:
        """Make the account and log in."""
        self.hub, self.name, self.port = hub, name, hub.ports[name]
        self._mine = f"{hub.url}/user/{name}"
        self.session = requests.Session()
        self.session.trust_env = False
        page = self.session.get(f"{hub.url}/hub/login", timeout=PATIENCE_S)
        page.raise_for_status()
        form = {"username": name, "password": PASSWORD, "_xsrf": self._cookie("_xsrf")}
        answer = self.session.post(
            f"{hub.url}/hub/login", data=form, timeout=PATIENCE_S, allow_redirects=False
        )
        if answer.status_code != HTTPStatus.FOUND:
            raise RuntimeError(f"login: {answer.status_code}")

    def _cookie(self, name: str) -> str:
        return next(str(one.value) for one in self.session.cookies if one.name == name)

    def click(self) -> None:
        """Ask the API, as the Hub's own page does."""
        answer = self.hub.api("POST", f"users/{self.name}/server", {})
        answer.raise_for_status()

    def enter(self) -> None:
        """Listen to the progress, as the Hub's own page does, then go to one's own server."""
        headers = {"Authorization": f"token {self.hub.token}"}
        url = f"{self.hub.url}/hub/api/users/{self.name}/server/progress"
        with requests.get(url, headers=headers, stream=True, timeout=PATIENCE_S) as progress:
            for line in progress.iter_lines(chunk_size=1):
                if line.startswith(b"data:") and json.loads(line[5:]).get("ready"):
                    break
        until(self.answers)

    def answers(self) -> bool:
        """Tell whether the user's own server answers him now."""
        with contextlib.suppress(requests.RequestException):
            answer = self.session.get(f"{self._mine}/queue", timeout=PATIENCE_S)
            return (
                answer.ok and answer.url.startswith(self._mine) and "queue_running" in answer.text
            )
        return False

    def prompt(self, graph: dict[str, Any]) -> None:
        """Send work."""
        headers = {"Origin": self.hub.url, "X-XSRFToken": self._cookie("_xsrf")}
        url = f"{self._mine}/prompt"
        answer = self.session.post(url, json={"prompt": graph}, headers=headers, timeout=60)
        answer.raise_for_status()

    def leave(self) -> None:
        """Ask for the stop."""
        self.hub.api("DELETE", f"users/{self.name}/server")

    def is_shut(self) -> bool:
        """Tell whether nobody listens there; JupyterHub's route goes later."""
        return not listens(self.port)

    def is_told_of(self) -> bool:
        """Tell whether the Hub says that the server is there."""
        answer = self.hub.api("GET", f"users/{self.name}").json()
        return bool(answer.get("servers") or answer.get("pending"))

    def free(self) -> None:
        """Wait until the Hub says that it is stopped."""
        until(lambda: not self.is_told_of())

    def websocket(self) -> websocket.WebSocket:
        """Open one through proxy and wrapper."""
        asked = self.session.prepare_request(requests.Request("GET", f"{self._mine}/ws"))
        opened = websocket.create_connection(
            f"{self._mine.replace('http', 'ws', 1)}/ws",
            cookie=asked.headers.get("Cookie"),
            origin=self.hub.url,
            timeout=30,
        )
        opened.recv()
        return opened
