"""What a killed manager leaves, and what happens meanwhile: the next one finds it and says it."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.chaos import SETTINGS, Json, account, opens, row_of, supervisor_of
from tests.support.client import Client, first_admin, new_user
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

IDLE_BEFORE = 400


class House:
    """A manager with two users, each on a port of his own."""

    def __init__(self, folder: Path, stack: ExitStack, **settings: str) -> None:
        self.manager = ManagerProcess(folder, settings={**SETTINGS, **settings})
        stack.enter_context(self.manager)
        self.admin = stack.enter_context(first_admin(self.manager))
        self.people: list[Client] = [
            stack.enter_context(new_user(self.admin, name, port))
            for name, port in zip("ab", self.manager.ports, strict=True)
        ]

    def shown(self, number: int) -> Json:
        """Read what the admin sees of a port."""
        return dict(self.admin.get("/api/admin/overview")["ports"][number])


def test_what_ended_meanwhile_is_told_and_what_did_not_is_as_idle_as_before(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        house = House(tmp_path, stack)
        a, b = house.people
        urls = [str(person.start()["workspace_url"]) for person in (a, b)]
        killed, kept = (row_of(house.manager, port) for port in house.manager.ports)
        house.manager.kill()
        os.kill(killed["process_id"], signal.SIGSEGV)
        with contextlib.closing(sqlite3.connect(tmp_path / "comfyui_manager.db")) as database:
            database.execute(
                "UPDATE port_status SET idle_count = ? WHERE port = ?", (IDLE_BEFORE, kept["port"])
            )
            database.commit()
        house.manager.start()
        last = a.until_gone()["last_usage"]
        assert (last["end_reason"], last["signal"]) == ("died", "SIGSEGV")
        assert "To see the GUI go to" in last["log_tail"]
        assert opens(urls[0]) == 403

        after = row_of(house.manager, kept["port"])
        same = ("launch_id", "process_id", "token", "secret", "started_at")
        assert [after[name] for name in same] == [kept[name] for name in same]
        idle = wait_until(lambda: house.shown(1)["idle_seconds"], what="b is looked at again")
        assert idle >= IDLE_BEFORE

        # Its supervisor gone too, nobody saw how it ended; that it did is told all the same.
        house.manager.kill()
        for pid in (supervisor_of(house.manager, kept["launch_id"]), kept["process_id"]):
            os.kill(pid, signal.SIGKILL)
        house.manager.start()
        assert b.until_gone()["last_usage"]["fault_kind"] == "unseen"
        assert account(house.manager, set(urls)) == []


class Stranger(http.server.BaseHTTPRequestHandler):
    """Refuses whom it does not know and answers everybody else, as a guarded instance does."""

    heard: list[str]

    def do_GET(self) -> None:
        """Take note of what is asked."""
        self.heard.append(str(self.headers))
        known = "X-ComfyUI-Manager-Secret" in self.headers
        self.send_response(200 if known else 403)
        self.end_headers()
        self.wfile.write(b'{"queue_running": [], "queue_pending": []}')

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def stranger_on(port: int) -> Iterator[list[str]]:
    heard: list[str] = []
    kind = type("Listening", (Stranger,), {"heard": heard})
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), kind) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield heard
        finally:
            server.shutdown()
            thread.join()


def test_who_takes_the_port_while_comfyui_boots_gets_no_gate_and_hears_no_secret(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        house = House(tmp_path, stack, COMFYUI_ARGS="--demo-slow-start 3", QUARANTINE_AFTER="0")
        a, port = house.people[0], house.manager.ports[0]
        a.post("/api/user/start")
        wait_until(lambda: row_of(house.manager, port)["process_id"], what="it boots")
        with stranger_on(port) as heard:
            last = a.until_gone()["last_usage"]
            assert last["fault_kind"] == "port_taken"
            assert last["ready_at"] is None
            assert heard == []
            # Nor is the port given out while he has it.
            assert a.ask("POST", "/api/user/start").status_code == 409
