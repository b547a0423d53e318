"""The panel of a cluster's machines: there and lost, in both languages, on a phone and a desk."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.browser import FIRST_PASSWORD, Person
from tests.support.faces import DESK, PHONE, findings
from tests.support.server import ManagerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

NODES = ("10.0.0.1", "10.0.0.2")


class Head(ThreadingHTTPServer):
    """A stand-in for Ray's head with two machines; ``silent``: it answers nobody."""

    silent = False


class _Answers(BaseHTTPRequestHandler):
    server: Head

    def do_GET(self) -> None:
        if self.server.silent:
            self.close_connection = True
            return
        listed = [
            {"node_id": ip, "node_ip": ip, "state": "ALIVE", "resources_total": {"NPU": 2}}
            for ip in NODES
        ]
        told: dict[str, object] = {
            "/api/version": {"ray_version": "2.60.0"},
            "/api/jobs/": [],
            "/api/v0/nodes": {"data": {"result": {"result": listed}}},
        }
        body = json.dumps(told.get(self.path.partition("?")[0], {})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Keep the output quiet."""


@pytest.fixture
def head() -> Iterator[Head]:
    with Head(("127.0.0.1", 0), _Answers) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture
def manager(tmp_path: Path, head: Head) -> Iterator[ManagerProcess]:
    address = f"http://127.0.0.1:{head.server_address[1]}"
    told = {"LAUNCHER": "ray", "CARD_KIND": "ascend", "RAY_ADDRESS": address}
    made = ManagerProcess(tmp_path / "manager", settings=told)
    rows = zip(made.env["PORTS"].split(","), NODES, strict=True)
    made.env["PORTS"] = ",".join(f"{row}::::{node}" for row, node in rows)
    with made as running:
        yield running


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_machines_are_shown_and_a_lost_engine_is_said_at_once(
    head: Head, people: Callable[..., Person], language: str, size: Any
) -> None:
    admin = people(language, viewport=size)
    admin.comes_in("admin", FIRST_PASSWORD, "an admin's password")
    admin.goes("/admin")
    page = admin.page
    panel = page.locator("[data-nodes]")
    rows = panel.locator("tbody tr")
    expect(rows).to_have_count(2, timeout=60_000)
    expect(rows.first).to_contain_text(admin.t("admin.nodes.standing.there"))
    expect(panel.locator('[data-role="engine-open"]')).to_be_visible()
    expect(panel.locator('[data-role="engine-silent"]')).to_be_hidden()
    assert findings(page, "[data-nodes]") == []
    admin.has_no_sideways_scrolling()

    head.silent = True
    expect(panel.locator('[data-role="engine-silent"]')).to_be_visible(timeout=60_000)
    expect(rows.first).to_contain_text(admin.t("admin.nodes.standing.unknown"))
    assert findings(page, "[data-nodes]") == []
    admin.has_no_sideways_scrolling()

    head.silent = False
    expect(panel.locator('[data-role="engine-silent"]')).to_be_hidden(timeout=60_000)
