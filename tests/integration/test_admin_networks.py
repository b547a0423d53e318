"""An admin who comes from a network that ADMIN_NETWORKS does not list."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import requests
import websocket

from tests.support.client import ADMIN_PASSWORD, Client, first_admin
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.integration

OVERVIEW = "/api/admin/overview"


def events(one: Client) -> list[str]:
    """Open a page's live connection and name what it is told within some seconds."""
    address = f"{one.manager.url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket"
    cookie = "; ".join(f"{c.name}={c.value}" for c in one.session.cookies)
    heard: list[str] = []
    opened = websocket.create_connection(address, cookie=cookie, origin=one.manager.url, timeout=5)
    opened.send("40")
    while "overview" not in heard:
        try:
            packet = str(opened.recv())
        except websocket.WebSocketTimeoutException:
            break
        # 42: a message that is an event, https://socket.io/docs/v4/socket-io-protocol/
        if packet.startswith("42"):
            heard.append(json.loads(packet[2:])[0])
    opened.close()
    return heard


def token_of(one: Client) -> str:
    """Make a token of scope ``admin`` on the account page."""
    form = {
        "name": "nightly",
        "scope": "admin",
        "days": "7",
        "password": ADMIN_PASSWORD,
        "csrf_token": one.session.headers["X-CSRFToken"],
    }
    page = one.session.post(f"{one.manager.url}/account/tokens", data=form, timeout=30)
    found = re.search(r"cmm_[A-Za-z0-9]{43}", page.text)
    assert found, page.status_code
    return found[0]


def by_token(one: Client, token: str) -> int:
    """Ask for the overview with it and give the answer's number."""
    headers = {"Authorization": f"Bearer {token}"}
    with requests.Session() as plain:
        plain.trust_env = False
        return plain.get(f"{one.manager.url}{OVERVIEW}", headers=headers, timeout=30).status_code


def test_an_admin_elsewhere_is_a_user_on_every_road(tmp_path: Path) -> None:
    manager = ManagerProcess(tmp_path, rows=1, settings={"COMFYUI_ARGS": "--demo-zero-boot"})
    with manager, first_admin(manager) as admin:
        admin.get(OVERVIEW)
        assert events(admin)[-1] == "overview"
        token = token_of(admin)
        assert by_token(admin, token) == 200
        manager.stop()
        manager.env["ADMIN_NETWORKS"] = "192.0.2.0/24"
        manager.start()
        refused = admin.ask("GET", OVERVIEW)
        assert refused.status_code == 403
        assert by_token(admin, token) == 403
        assert "ADMIN_NETWORKS" in refused.json()["error"]["message"]
        heard = set(events(admin))
        # What a busy machine has pages say comes as a difference, some time after the whole.
        assert "state" in heard
        assert heard <= {"state", "state_diff"}
        # What everybody may do he still may.
        assert admin.start()["port"] == manager.ports[0]
        manager.stop()
        manager.env["ADMIN_NETWORKS"] = "127.0.0.0/8"
        manager.start()
        assert admin.get(OVERVIEW)["users"]
        assert by_token(admin, token) == 200
