"""HTTPS of the manager itself: one setting, its own page behind Caddy, and a switch on and off."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from manager.gate import admin, caddyfile, page
from manager.settings import ROOT
from tests.support.chaos import SETTINGS, query, row_of
from tests.support.client import Client, Workspace, first_admin, is_open, new_user
from tests.support.server import LOOPBACK, ManagerProcess
from tests.support.tls import make_pair

pytestmark = pytest.mark.integration

FORGED = "203.0.113.9"
"""TEST-NET-3 of RFC 5737: nobody comes from there."""


class House:
    """A manager behind its own HTTPS, an admin, and somebody at work."""

    def __init__(self, folder: Path, stack: ExitStack, **settings: str) -> None:
        self.manager = ManagerProcess(folder, settings={**SETTINGS, **settings})
        stack.enter_context(self.manager)
        self.admin = stack.enter_context(first_admin(self.manager))
        self.ann = stack.enter_context(new_user(self.admin, "ann", self.manager.ports[0]))
        self.link = str(self.ann.start()["workspace_url"])
        self.workspace = Workspace(self.link, self.manager.trusted)
        stack.callback(self.workspace.close)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path_factory.mktemp("tls"), stack, TLS="internal")


def plain(port: int, path: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"http://{LOOPBACK}:{port}{path}", allow_redirects=False, timeout=10)


def test_page_and_gates_answer_by_https_and_lead_there(house: House) -> None:
    manager = house.manager
    answer = house.admin.ask("GET", "/healthz")
    assert answer.headers["Strict-Transport-Security"] == "max-age=3600"
    assert house.link.startswith(f"https://{LOOPBACK}:{manager.workspace_ports[0]}/?token_")
    assert house.workspace.entered.headers["Strict-Transport-Security"] == "max-age=3600"
    for port in (manager.port, manager.workspace_ports[0], manager.external_ports[1]):
        told = plain(port, "/login?x=1")
        assert told.status_code == 308
        assert told.headers["Location"] == f"https://{LOOPBACK}:{port}/login?x=1"
    cookies = [*house.admin.session.cookies, *house.workspace.session.cookies]
    assert cookies
    assert all(cookie.secure for cookie in cookies)


def test_who_names_no_host_or_another_gets_a_certificate(house: House) -> None:
    context = ssl.create_default_context(cafile=str(house.manager.trusted))
    for name in (LOOPBACK, "localhost", socket.gethostname().lower()):
        # For an address no name is sent at all (RFC 6066, section 3).
        with (
            socket.create_connection((LOOPBACK, house.manager.port), 10) as sock,
            context.wrap_socket(sock, server_hostname=name) as wrapped,
        ):
            told: Any = wrapped.getpeercert()
            assert [shown for _kind, shown in told["subjectAltName"]] == [name]


def test_both_doors_of_a_workspace_by_https(house: House) -> None:
    manager, workspace = house.manager, house.workspace
    assert workspace.get("/queue").status_code == 200
    sock = workspace.socket()
    assert is_open(sock)
    sock.close()
    token = house.link.rpartition("=")[2]
    outside = f"https://{LOOPBACK}:{manager.external_ports[0]}/queue"
    for headers, status in (({"Authorization": f"Bearer {token}"}, 200), ({}, 403)):
        got = requests.get(outside, headers=headers, verify=manager.trusted, timeout=10)
        assert got.status_code == status
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(
            f"{workspace.base.replace('http', 'ws', 1)}/ws",
            sslopt={"ca_certs": manager.trusted},
            timeout=10,
        )
    assert refused.value.status_code == 403


def _live(manager: ManagerProcess, origin: str) -> websocket.WebSocket:
    return websocket.create_connection(
        f"wss://{LOOPBACK}:{manager.port}/socket.io/?EIO=4&transport=websocket",
        origin=origin,
        sslopt={"ca_certs": manager.trusted},
        timeout=10,
    )


def test_pages_of_our_own_https_may_listen_and_no_others(house: House) -> None:
    opened = _live(house.manager, house.manager.url)
    assert str(opened.recv()).startswith("0{")
    opened.close()
    for origin in (house.manager.url.replace("https", "http"), house.workspace.base, "null"):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            _live(house.manager, origin)
        assert refused.value.status_code == 400


def test_a_live_page_stays_connected_while_gates_change(house: House) -> None:
    opened = _live(house.manager, house.manager.url)
    opened.recv()
    with new_user(house.admin, "bob") as bob:
        bob.start()
        bob.stop()
    opened.send("40")
    assert opened.recv() == '44{"message":"not_authenticated"}'
    opened.close()


def test_no_visitor_can_say_from_where_he_comes(house: House) -> None:
    manager = house.manager
    forged = {
        "X-Forwarded-For": FORGED,
        "X_Forwarded_For": FORGED,
        "Forwarded": f"for={FORGED}",
        "X-Real-IP": FORGED,
        "X-ComfyUI-Manager-Secret": "x" * 32,
    }
    visitor = Client(manager, "admin", "wrong", refused=True)
    visitor.session.headers.update(forged)
    statuses = []
    for number in range(8):
        visitor.session.headers["X-Forwarded-For"] = f"203.0.113.{number}, {FORGED}"
        page = visitor.session.get(f"{manager.url}/login", timeout=30).text
        found = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert found
        form = {"username": "nobody", "password": "wrong", "csrf_token": found[1]}
        statuses.append(visitor.session.post(f"{manager.url}/login", data=form).status_code)
    visitor.close()
    assert statuses[0] == 401
    assert statuses[-1] == 429, "all were counted for one address"
    addresses = {row["address"] for row in query(manager, "SELECT address FROM audit")}
    assert addresses - {""} == {LOOPBACK}


def test_the_page_itself_answers_nobody_but_caddy(house: House) -> None:
    path = house.manager.data_dir / "caddy" / "page.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    secret = page.secret_from((path.parent / "admin_key").read_text(encoding="ascii").strip())
    told = {"X-Forwarded-For": FORGED}
    for headers, status in (
        ({}, 403),
        (told, 403),
        ({**told, "X-ComfyUI-Manager-Secret": "x" * 32}, 403),
        ({**told, "X-ComfyUI-Manager-Secret": secret}, 200),
    ):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = admin.connect(path, 20)
        connection.request("GET", "/healthz", headers=headers)
        assert connection.getresponse().status == status
        connection.close()
    log = (house.manager.data_dir / "caddy" / "caddy.log").read_text(encoding="utf-8")
    assert secret not in log


def test_status_says_where_the_root_certificate_is(house: House) -> None:
    told = house.manager.run("status").stdout
    assert f"manager: answers on {house.manager.url}" in told
    assert f"https: root certificate {house.manager.trusted}, until 20" in told


def test_while_the_manager_is_away_people_are_told_and_work_goes_on(house: House) -> None:
    manager, before = house.manager, row_of(house.manager, house.manager.ports[0])
    sock = house.workspace.socket()
    manager.kill()
    as_person = {"Accept": "text/html", "Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}
    told = house.admin.session.get(f"{manager.url}/admin", headers=as_person, timeout=30)
    assert (told.status_code, told.headers["Refresh"]) == (503, "3")
    assert "管理界面正在重启" in told.content.decode()
    english = house.admin.session.get(
        f"{manager.url}/", headers={**as_person, "Accept-Language": "en"}, timeout=30
    )
    assert "The manager is restarting" in english.text
    form = {**as_person, "Sec-Fetch-Mode": "navigate"}
    sent = house.admin.session.post(f"{manager.url}/login", headers=form, timeout=30)
    assert (sent.status_code, sent.headers["Refresh"]) == (503, "3; url=/")
    assert house.admin.ask("GET", "/api/user/state").json()["error"]["code"] == "restarting"
    assert is_open(sock)
    manager.start()
    assert house.ann.until_running()["workspace_url"] == house.link
    after = row_of(manager, before["port"])
    assert (after["launch_id"], after["process_id"]) == (before["launch_id"], before["process_id"])
    assert is_open(sock)
    sock.close()


def test_https_is_switched_off_and_on_while_somebody_works(house: House) -> None:
    manager, row = house.manager, row_of(house.manager, house.manager.ports[0])
    shipped = caddyfile.split((ROOT / "Caddyfile").read_text(encoding="utf-8"), Path("Caddyfile"))
    for kind in ("off", "internal"):
        assert manager.run("stop", "--keep-instances").returncode == 0
        manager.env["TLS"] = kind
        manager.start()
        link = f"{'http' if kind == 'off' else 'https'}{house.link.removeprefix('https')}"
        with Client(manager, "ann", "a user's password") as ann:
            assert ann.until_running()["workspace_url"] == link
        workspace = Workspace(link, manager.trusted)
        assert workspace.get("/queue").status_code == 200
        workspace.close()
        now = row_of(manager, row["port"])
        assert (now["process_id"], now["token"]) == (row["process_id"], row["token"])
        text = manager.caddyfile.read_text(encoding="utf-8")
        assert text.startswith(shipped.above) == (kind == "off")


def test_a_bad_certificate_is_refused_and_open_workspaces_stay(tmp_path: Path) -> None:
    cert, key = make_pair(tmp_path / "tls")
    files = {"TLS": "files", "TLS_CERT": str(cert), "TLS_KEY": str(key)}
    # The other server has to do as well behind Caddy.
    files["ASYNC_MODE"] = "threading"
    with ExitStack() as stack:
        house = House(tmp_path / "house", stack, **files)
        manager, sock = house.manager, house.workspace.socket()
        opened = _live(manager, manager.url)
        assert str(opened.recv()).startswith("0{")
        opened.close()
        assert f"https: certificate {cert}, until 20" in manager.run("status").stdout
        manager.kill()
        good = cert.read_bytes(), key.read_bytes()
        make_pair(tmp_path / "tls", days=-1)
        refused = manager.run("serve")
        assert refused.returncode == 2
        assert f"TLS_CERT = {cert} has expired" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert is_open(sock)
        for path, content in zip((cert, key), good, strict=True):
            path.write_bytes(content)
        assert house.workspace.get("/queue").status_code == 200
        manager.start()
        assert house.ann.until_running()["workspace_url"] == house.link
        assert is_open(sock)
        sock.close()
