"""Crowds from one address: others go on, and nobody has the manager keep what it need not."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator

import psutil
import pytest
import requests
import websocket
from flask import Flask

from manager.crowd import Crowd
from manager.web.app import COOKIE_NAME
from manager.web.sockets import MAX_MESSAGE_BYTES, MAX_PAGES
from manager.web.threaded import ThreadedHttpServer
from tests.support.client import USER_PASSWORD, Client, first_admin, live_page, new_user
from tests.support.server import LOOPBACK, ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

STRANGER = "127.0.0.3"
"""All of 127.0.0.0/8 is this machine's own on Linux."""

LIMIT = 60
CROWD = 500
ROOM_BYTES = 64 << 20


@pytest.fixture(scope="module", params=["eventlet", "threading"])
def manager(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ManagerProcess]:
    settings, folder = {"CONNECTIONS_PER_ADDRESS": str(LIMIT)}, tmp_path_factory.mktemp("crowd")
    with ManagerProcess(folder, settings=settings, mode=request.param) as running:
        with first_admin(running) as admin, new_user(admin, "ann"), new_user(admin, "bob"):
            pass
        yield running


def crowd(manager: ManagerProcess, stack: contextlib.ExitStack, count: int) -> list[socket.socket]:
    """Connect from the stranger's address, and say nothing."""
    return [
        stack.enter_context(
            socket.create_connection((LOOPBACK, manager.port), 20, source_address=(STRANGER, 0))
        )
        for _ in range(count)
    ]


def memory(manager: ManagerProcess) -> int:
    assert manager.process
    return int(psutil.Process(manager.process.pid).memory_info().rss)


def comes_in(manager: ManagerProcess, name: str = "ann") -> Client:
    return Client(manager, name, USER_PASSWORD)


def live(who: Client) -> websocket.WebSocket:
    """Open a page's live connection and join it; the first thing heard is what it is told."""
    return live_page(who.manager, str(who.session.cookies.get(COOKIE_NAME)))


def heard(opened: websocket.WebSocket) -> str:
    return str(opened.recv())


def is_in(told: str) -> bool:
    """Tell whether the first thing that a page heard is news; a refusal is told before any."""
    return told.startswith(("40", "42"))


def is_cut(opened: socket.socket) -> bool:
    """Tell whether the other side has ended it by now."""
    opened.settimeout(0.01)
    try:
        return opened.recv(4096) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_login_has_so_many_live_pages_and_is_told_why_not_more(manager: ManagerProcess) -> None:
    with contextlib.ExitStack() as stack:
        ann = stack.enter_context(comes_in(manager))
        pages = []

        def one_more() -> str:
            pages.append(live(ann))
            stack.callback(pages[-1].close)
            return heard(pages[-1])

        assert all(is_in(one_more()) for _ in range(MAX_PAGES))
        assert one_more() == '44{"message":"too_many_pages"}'
        with comes_in(manager, "bob") as bob:
            other = live(bob)
            assert is_in(heard(other))
            other.close()
        pages[0].close()
        wait_until(lambda: is_in(one_more()), what="the place that became free")


@pytest.mark.parametrize("piece", [b"x" * MAX_MESSAGE_BYTES, b""], ids=["long", "empty"])
def test_a_message_without_an_end_is_not_kept(manager: ManagerProcess, piece: bytes) -> None:
    if not piece and manager.env["ASYNC_MODE"] == "threading":
        # What is kept of empty frames there is nothing.
        return
    with comes_in(manager) as ann:
        page = live(ann)
        assert is_in(heard(page))
        begin = websocket.ABNF.create_frame(piece, websocket.ABNF.OPCODE_TEXT, 0)
        more = websocket.ABNF.create_frame(piece, websocket.ABNF.OPCODE_CONT, 0)
        sent = 0
        with contextlib.suppress(OSError, websocket.WebSocketException):
            page.send_frame(begin)
            while sent < 20_000:
                page.send_frame(more)
                sent += 1
        assert sent < 20_000, "it is cut"
        page.close()
    assert manager.health()


def test_many_connections_of_one_address_keep_nobody_else_out(manager: ManagerProcess) -> None:
    with contextlib.ExitStack() as stack:
        ann = stack.enter_context(comes_in(manager))
        page = live(ann)
        stack.callback(page.close)
        assert is_in(heard(page))
        before = memory(manager)
        idle = crowd(manager, stack, CROWD)
        # Those above the limit are told so at once, also who has not asked yet.
        told = idle[-1].recv(4096)
        assert told.startswith(b"HTTP/1.1 503 ")
        assert "Too many connections from this address. / 来自此地址的连接过多。" in told.decode()
        wait_until(lambda: sum(map(is_cut, idle)) >= CROWD - LIMIT, 60, "the rest is refused")
        idle = [one for one in idle if not is_cut(one)]
        with comes_in(manager, "bob") as bob:
            assert bob.state()["instance"] is None
        assert ann.state()["instance"] is None
        assert memory(manager) - before < ROOM_BYTES
        assert f"{STRANGER} has {LIMIT} connections at once" in manager.log_path.read_text("utf-8")

        # Who says nothing, or a byte now and then, is cut in time; who has a page open is not.
        drip = idle[0]
        drip.sendall(b"GET / HTTP/1.1\r\nA: ")

        def all_cut() -> bool:
            with contextlib.suppress(OSError):
                drip.sendall(b"x")
            return all(is_cut(one) for one in idle)

        wait_until(all_cut, 90, "those that say nothing are cut")
        ann.post("/api/user/start")
        assert heard(page)
        ann.stop()
        (again,) = crowd(manager, stack, 1)
        again.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert again.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_without_descriptors_left_the_page_comes_back(manager: ManagerProcess) -> None:
    assert manager.process
    pid = manager.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    try:
        with contextlib.ExitStack() as stack:
            few = psutil.Process(pid).num_fds() + LIMIT // 3
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, hard))
            crowd(manager, stack, LIMIT)
            wait_until(
                lambda: "no connection can be taken" in manager.log_path.read_text("utf-8"),
                what="it is in the log",
            )
        wait_until(manager.health, 60, "the page answers again")
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def test_live_connections_by_polling_are_counted_too(manager: ManagerProcess) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Origin"] = manager.url
        ask = f"{manager.url}/socket.io/?EIO=4&transport=polling"
        statuses = [session.get(ask, timeout=20).status_code for _ in range(LIMIT + 5)]
    assert statuses[:5] == [200] * 5
    assert statuses[-5:] == [503] * 5


def test_there_are_so_many_threads_and_the_next_visitor_waits_for_one() -> None:
    listener = socket.create_server((LOOPBACK, 0))
    port = listener.getsockname()[1]
    server = ThreadedHttpServer(listener, Flask("x"), 1, Crowd(0, "connections"), lambda _e: None)
    try:
        idle = socket.create_connection((LOOPBACK, port), 20)
        with socket.create_connection((LOOPBACK, port), 20) as waiting:
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            waiting.settimeout(0.5)
            with pytest.raises(TimeoutError):
                waiting.recv(4096)
            idle.close()
            waiting.settimeout(20)
            assert waiting.recv(4096).startswith(b"HTTP/1.1 404 ")
    finally:
        server.stop(5)
