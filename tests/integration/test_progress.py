"""The progress of running work: through the whole program, and from those who say it badly."""

from __future__ import annotations

import json
import re
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from manager.comfyui import ComfyUI
from manager.follower import LONGEST_REST_S, Follower, rest_s
from manager.progress import LONGEST_SAID, NotSaid
from manager.records import PROGRESS_PATH, Address, Instance
from manager.states import State
from tests.integration.test_usage import House, workspace
from tests.support.client import Client
from tests.support.listener import Listener
from tests.support.server import ROOT
from tests.support.talker import Talker, http_answer
from tests.support.waiting import wait_until
from tests.support.web import instance

pytestmark = pytest.mark.integration

SECRET = "s" * 32
VIEWERS = 20
NODE = {"node": "2", "class_type": "Sleep", "title": "My nap", "value": 3, "max": 20}
SAID = json.dumps({"prompt_id": "p", "task": 0, "nodes": 3, "finished": 1, **NODE}).encode()
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def nap(seconds: float, title: str = "My nap") -> dict[str, Any]:
    size = {"width": 8, "height": 8, "batch_size": 1, "color": 1}
    sleep = {"class_type": "Sleep", "inputs": {"seconds": seconds, "value": ["1", 0]}}
    return {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "2": sleep | {"_meta": {"title": title}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "t"}},
        "4": {"class_type": "EmptyImage", "inputs": size},
    }


def shown(user: Client) -> dict[str, Any] | None:
    return (user.state()["instance"] or {}).get("progress")


def at_the_node(user: Client) -> Callable[[], dict[str, Any] | None]:
    def look() -> dict[str, Any] | None:
        found = shown(user)
        return found if found and found["node"] == "My nap" and found["step"] else None

    return look


def test_the_owner_sees_the_node_and_the_admin_its_kind(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack)
    opened = workspace(stack, house.a)
    assert shown(house.a) is None
    for _ in range(2):
        # One without a client's id too: ComfyUI tells nobody of its nodes then.
        assert opened.post("/prompt", {"prompt": nap(20)}).ok
    found = wait_until(at_the_node(house.a), 30, "the node is shown") or {}
    assert (found["steps"], found["finished"], found["nodes"]) == (20, 1, 3)
    assert (found["prompt"], found["prompts"]) == (1, 2)
    assert 33 <= found["percent"] < 67
    assert found["still_minutes"] is None
    (port,) = house.admin.get("/api/admin/overview")["ports"]
    assert port["progress"]["node"] == "Sleep"
    assert "My nap" not in json.dumps(port)
    opened.post("/interrupt", {})
    wait_until(lambda: (shown(house.a) or {}).get("prompt") == 2, 30, "the second prompt")
    opened.post("/queue", {"clear": True})
    opened.post("/interrupt", {})
    wait_until(lambda: shown(house.a) is None, 30, "nothing is shown of what is over")


def test_many_viewers_cost_one_question_at_a_time_and_the_next_manager_goes_on(
    tmp_path: Path, stack: ExitStack
) -> None:
    node = shlex.quote(str(ROOT / "tests" / "support" / "slow_progress"))
    house = House(tmp_path, stack, COMFYUI_ARGS=f"--demo-zero-boot --demo-custom-node {node}")
    opened = workspace(stack, house.a)
    assert opened.post("/prompt", {"prompt": nap(60)}).ok
    wait_until(at_the_node(house.a), 30, "the node is shown")
    viewers = [stack.enter_context(Listener(house.a)) for _ in range(VIEWERS)]

    def steps(viewer: Listener) -> set[int]:
        told = [state["instance"]["progress"] for state in viewer.states()]
        return {progress["step"] for progress in told if progress and progress["step"]}

    wait_until(lambda: all(len(steps(viewer)) > 3 for viewer in viewers), 60, "all see it move")
    # Each answer takes so long that questions of several would meet.
    asked = re.findall("asked at once: ([0-9]+)", house.a.get("/api/user/log")["log"])
    assert asked == ["1"]
    before = shown(house.a) or {}
    house.manager.kill()
    house.manager.start()
    after = wait_until(at_the_node(house.a), 30, "the next manager goes on") or {}
    assert after["step"] >= before["step"]
    assert after["seconds"] >= before["seconds"]
    opened.post("/interrupt", {})


@dataclass(frozen=True)
class Seen:
    """What the watch saw."""

    running: int | None = 1


class Watch:
    """Sees work everywhere."""

    def reading(self, _port: int) -> Seen:
        return Seen()


@contextmanager
def following(*addresses: Address) -> Iterator[tuple[Follower, list[int]]]:
    """Follow instances at these addresses, on ports 1, 2, …; give what is published."""
    comfyui, stop = ComfyUI(8), threading.Event()
    published: list[int] = []

    def row(port: int) -> Instance:
        address = addresses[port - 1]
        return instance(port, State.RUNNING, launch_id="one", address=address, secret=SECRET)

    follower = Follower(comfyui, row, Watch(), lambda ports, _users: published.extend(ports))
    thread = threading.Thread(target=follower.run, args=(stop,))
    thread.start()
    try:
        follower.changed(frozenset(range(1, len(addresses) + 1)), frozenset())
        yield follower, published
    finally:
        stop.set()
        follower.wake()
        thread.join(30)
        comfyui.close()
        assert not thread.is_alive()


def test_it_is_asked_with_the_secret_over_one_connection_and_not_when_idle(
    stack: ExitStack,
) -> None:
    talker = Talker(lambda connection: connection.sendall(http_answer(SAID)))
    stack.callback(talker.close)
    with following(talker.address) as (follower, published):
        wait_until(lambda: len(talker.requests) >= 3, what="it is asked again and again")
        found = follower.progress(1)
        assert found is not None
        assert (found.step, found.steps, found.launch_id) == (3, 20, "one")
        assert published == [1]
        follower._watch = Idle()
        follower.changed(frozenset({1}), frozenset())
        assert follower.progress(1) is None
        assert follower.begin_due(time.monotonic()) is None
    assert talker.connections == 1
    assert talker.requests[0].startswith(f"GET {PROGRESS_PATH} HTTP/1.1\r\n".encode())
    assert f": {SECRET}\r\n".encode() in talker.requests[0]


class Idle:
    """Sees no work."""

    def reading(self, _port: int) -> Seen:
        return Seen(0)


def endless(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")


def endless_head(connection: socket.socket) -> None:
    connection.sendall(HEAD)
    while True:
        connection.sendall(b"X: " + b"x" * 1024 + b"\r\n")


def interim(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def huge(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: 104857600\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"x" * (1 << 20))


HOSTILE: dict[str, Callable[[socket.socket], object]] = {
    "garbage": lambda c: c.sendall(b"\x00\xff\x81\x7e" * 4096),
    "not JSON": lambda c: c.sendall(http_answer(b"\xff{")),
    "nonsense": lambda c: c.sendall(http_answer(b'{"prompt_id": [], "max": 1e999}')),
    "deep": lambda c: c.sendall(http_answer(b"[" * (LONGEST_SAID - 1))),
    "error": lambda c: c.sendall(http_answer(SAID, "500 Oops")),
    "closes": lambda c: c.shutdown(socket.SHUT_RDWR),
    "huge": huge,
    "endless": endless,
    "endless head": endless_head,
    "interim": interim,
    "silent": lambda c: c.recv(1),
}


@pytest.mark.parametrize("talk", HOSTILE.values(), ids=HOSTILE.keys())
def test_who_says_it_badly_is_asked_rarely_and_delays_nobody(
    stack: ExitStack, talk: Callable[[socket.socket], object]
) -> None:
    bad, good = Talker(talk), Talker(lambda c: c.sendall(http_answer(SAID)))
    stack.callback(bad.close)
    stack.callback(good.close)
    with following(bad.address, good.address) as (follower, published):
        wait_until(lambda: len(bad.requests) >= 2, what="it is asked a second time")
        asked = len(good.requests)
        wait_until(lambda: len(good.requests) >= asked + 2, what="the other one is asked")
        assert follower.progress(1) is None
        assert follower.progress(2) is not None
        assert set(published) <= {2}
        assert rest_s(follower._followed[1].failures) >= 1.0


def test_the_rest_grows_and_has_an_end() -> None:
    rests = [rest_s(failures) for failures in range(1, 2000)]
    assert rests[:3] == [1.0, 2.0, 4.0]
    assert rests == sorted(rests)
    assert rests[-1] == LONGEST_REST_S


@pytest.mark.parametrize("more", [0, 1])
def test_no_more_is_read_than_the_bound(stack: ExitStack, more: int) -> None:
    body = SAID[:-1] + b" " * (LONGEST_SAID - len(SAID) + more) + b"}"
    talker, comfyui = Talker(lambda c: c.sendall(http_answer(body))), ComfyUI(1)
    stack.callback(talker.close)
    stack.callback(comfyui.close)
    if more:
        with pytest.raises(NotSaid, match="TooLong"):
            comfyui.progress(talker.address, SECRET)
    else:
        assert comfyui.progress(talker.address, SECRET).prompt_id == "p"


def test_one_question_at_a_time_is_under_way() -> None:
    asked, answer = [], threading.Event()

    class Slow:
        def progress(self, address: Address, _secret: str | None) -> object:
            asked.append(address)
            answer.wait(30)
            raise NotSaid("too late")

    slow: Any = Slow()
    address = Address("127.0.0.1", 1)
    follower = Follower(
        slow,
        lambda port: instance(port, State.RUNNING, launch_id="one", address=address),
        Watch(),
        lambda _ports, _users: None,
    )
    follower.changed(frozenset({1}), frozenset())
    now = time.monotonic()
    for later in range(3):
        follower.begin_due(now + 10 * later)
    answer.set()
    follower._pool.shutdown(wait=True)
    assert asked == [address]


def test_one_that_was_started_before_this_question_is_said_to_be_unable(stack: ExitStack) -> None:
    talker = Talker(lambda c: c.sendall(http_answer(b"404: Not Found", "404 Not Found")))
    stack.callback(talker.close)
    with following(talker.address) as (follower, published):
        wait_until(lambda: published, what="it is published")
        found = follower.progress(1)
        assert found is not None
        assert not found.told
