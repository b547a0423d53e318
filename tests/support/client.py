"""A person at the manager's API, for whole-program tests and measurements. No browser."""

from __future__ import annotations

import re
from typing import Any

import requests
import websocket
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from manager.web.app import COOKIE_NAME
from tests.support.closing import Closing
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

ADMIN_PASSWORD = "an admin's password"
USER_PASSWORD = "a user's password"
PATIENCE_S = 60.0
JOIN = "40"
"""Socket.IO 5's packet of who wants to listen."""

Json = dict[str, Any]


class Client(Closing):
    """One person's session."""

    def __init__(
        self,
        manager: ManagerProcess,
        username: str,
        password: str,
        *,
        refused: bool = False,
        half_way: bool = False,
    ) -> None:
        """Log in, or try to and be ``refused``; ``half_way``: and be asked for a code."""
        self.manager = manager
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = manager.trusted
        # Behind Caddy. A connection that was kept may be closed as a gate changes; browsers send a
        # request once more that got no answer on such a one, this library only if told to.
        again = Retry(total=1, allowed_methods=None, respect_retry_after_header=False)
        self.session.mount("https://", HTTPAdapter(max_retries=again))
        self.session.headers["Origin"] = manager.url
        form = {"username": username, "password": password, "csrf_token": self._csrf("/login")}
        answer = self.session.post(f"{manager.url}/login", data=form, timeout=30)
        if refused:
            assert answer.status_code in {401, 429}, answer.status_code
            return
        answer.raise_for_status()
        assert answer.url.endswith("/login/code") is half_way, answer.url
        self.session.headers["X-CSRFToken"] = self._csrf("/login/code" if half_way else "/password")

    def change_password(self, old: str, new: str) -> None:
        """Set another password."""
        self.post("/api/user/password", {"old_password": old, "new_password": new})

    def _csrf(self, path: str) -> str:
        page = self.session.get(f"{self.manager.url}{path}", timeout=30).text
        found = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert found, page[:500]
        return found[1]

    def ask(self, method: str, path: str, body: Json | None = None) -> requests.Response:
        """Send a request and give whatever comes back."""
        return self.session.request(method, f"{self.manager.url}{path}", json=body, timeout=30)

    def get(self, path: str) -> Json:
        """Read something that must be there."""
        answer = self.ask("GET", path)
        answer.raise_for_status()
        return dict(answer.json())

    def post(self, path: str, body: Json | None = None) -> Json:
        """Do something that must be allowed."""
        answer = self.ask("POST", path, body)
        assert answer.ok, answer.text
        return dict(answer.json())

    def state(self) -> Json:
        """Read one's own state."""
        return self.get("/api/user/state")

    def start(self) -> Json:
        """Start and wait until it runs; give the instance with its links."""
        self.post("/api/user/start")
        return self.until_running()

    def until_running(self) -> Json:
        """Wait until the instance runs."""

        def running() -> Json | None:
            state = self.state()
            assert state["phase"] in {"starting", "running"}, state
            return state["instance"] if state["phase"] == "running" else None

        return wait_until(running, PATIENCE_S, "the instance runs") or {}

    def stop(self) -> None:
        """Stop and wait until the port is free."""
        self.post("/api/user/stop")
        self.until_gone()

    def until_gone(self) -> Json:
        """Wait until nothing is held and give the whole state."""

        def gone() -> Json | None:
            state = self.state()
            return state if state["instance"] is None else None

        return wait_until(gone, PATIENCE_S, "the port is free") or {}

    def close(self) -> None:
        """Leave."""
        self.session.close()


def first_admin(manager: ManagerProcess) -> Client:
    """Do what a newcomer does first."""
    client = Client(manager, "admin", "admin123")
    client.change_password("admin123", ADMIN_PASSWORD)
    return client


def new_user(admin: Client, username: str, assigned_port: int | None = None) -> Client:
    """Make an account and log in to it for the first time."""
    body = {"username": username, "password": "first" + USER_PASSWORD, "is_admin": False}
    admin.post("/api/admin/users", {**body, "assigned_port": assigned_port})
    client = Client(admin.manager, username, "first" + USER_PASSWORD)
    client.change_password("first" + USER_PASSWORD, USER_PASSWORD)
    return client


class Workspace:
    """A browser's way through a gate: the link once, then the cookie."""

    def __init__(self, url: str, trusted: str | bool = True) -> None:
        """Follow the link; ``trusted`` is what ``requests`` takes for ``verify``."""
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = trusted
        self.entered = self.session.get(url, timeout=30)
        self.base = url.split("/?")[0]
        self.cookie = "; ".join(f"{c.name}={c.value}" for c in self.session.cookies)

    def get(self, path: str) -> requests.Response:
        """Ask for something by the cookie."""
        return self.session.get(self.base + path, timeout=30)

    def post(self, path: str, body: Json) -> requests.Response:
        """Send something by the cookie, as the page would."""
        headers = {"Origin": self.base}
        return self.session.post(self.base + path, json=body, headers=headers, timeout=30)

    def socket(self, client_id: str = "") -> websocket.WebSocket:
        """Open a websocket and read the first message."""
        query = f"?clientId={client_id}" if client_id else ""
        opened: websocket.WebSocket = websocket.create_connection(
            f"{self.base.replace('http', 'ws', 1)}/ws{query}",
            cookie=self.cookie,
            origin=self.base,
            timeout=30,
            sslopt=None if self.session.verify is True else {"ca_certs": self.session.verify},
        )
        opened.recv()
        return opened

    def close(self) -> None:
        """Leave."""
        self.session.close()


def is_open(opened: websocket.WebSocket) -> bool:
    """Tell whether a websocket still carries a ping and its answer."""
    try:
        opened.ping()
        while True:
            code, _ = opened.recv_data(control_frame=True)
            if code == websocket.ABNF.OPCODE_PONG:
                return True
            if code == websocket.ABNF.OPCODE_CLOSE:
                return False
    except (OSError, websocket.WebSocketException):
        return False


def live_page(manager: ManagerProcess, cookie: str) -> websocket.WebSocket:
    """Open the live connection of a page of the login that ``cookie`` is, and join."""
    return joined(manager, f"{COOKIE_NAME}={cookie}")


def live_page_of(client: Client) -> websocket.WebSocket:
    """Open the live connection of a page of somebody who is logged in, and join."""
    cookies = "; ".join(f"{one.name}={one.value}" for one in client.session.cookies)
    return joined(client.manager, cookies)


def joined(manager: ManagerProcess, cookies: str) -> websocket.WebSocket:
    """Connect as the page's script does (Engine.IO 4, Socket.IO 5), and join."""
    opened = websocket.create_connection(
        f"{manager.url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket",
        origin=manager.url,
        cookie=cookies,
        timeout=PATIENCE_S,
    )
    assert str(opened.recv()).startswith("0{")
    opened.send(JOIN)
    return opened
