"""What is asked of a ComfyUI, against a server that answers well, badly, late or not at all."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from manager.comfyui import CACHE_S, ComfyUI, Work
from manager.records import GUARD_HEADER, Address
from tests.support.ports import free_port

pytestmark = pytest.mark.integration

JOB = [0, "id", {"1": {}}, {}, ["2"]]
SECRET = "s" * 32


class Talker:
    """A server whose answer is a function of the socket; counts connections and requests."""

    def __init__(self, talk: Callable[[socket.socket], object]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self.listener.getsockname()[1])
        self.requests: list[bytes] = []
        self.connections = 0
        self.done = threading.Event()
        self._talk = talk
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                while request := connection.recv(65536):
                    self.requests.append(request)
                    self._talk(connection)
            except OSError:
                return

    def close(self) -> None:
        self.done.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self._threads:
            thread.join(15)
            assert not thread.is_alive()


def _http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _queue(running: int, pending: int) -> bytes:
    return json.dumps({"queue_running": [JOB] * running, "queue_pending": [JOB] * pending}).encode()


@contextmanager
def _talking(talk: Callable[[socket.socket], object]) -> Iterator[tuple[Talker, ComfyUI]]:
    talker, comfyui = Talker(talk), ComfyUI(4)
    try:
        yield talker, comfyui
    finally:
        comfyui.close()
        talker.close()


@pytest.mark.parametrize(
    ("running", "pending", "work"),
    [(0, 0, Work.IDLE), (1, 0, Work.BUSY), (0, 1, Work.BUSY), (1, 3, Work.BUSY)],
)
def test_a_queue_is_idle_only_when_nothing_runs_and_nothing_waits(
    running: int, pending: int, work: Work
) -> None:
    with _talking(lambda c: c.sendall(_http(_queue(running, pending)))) as (talker, comfyui):
        answer = comfyui.queue(talker.address, SECRET)
        assert (answer.work, answer.running, answer.pending) == (work, running, pending)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"<html></html>",
        b'{"queue_running": [], "queue_pending": null}',
        b'{"queue_running": 0, "queue_pending": 0}',
        b'{"queue_running": -1, "queue_pending": []}',
        b'{"queue_running": []}',
        b'{"queue_running": {}, "queue_pending": {}}',
        b"\xff\xfe",
    ],
)
def test_what_is_not_a_queue_is_unknown(body: bytes) -> None:
    with _talking(lambda c: c.sendall(_http(body))) as (talker, comfyui):
        assert comfyui.queue(talker.address, SECRET).work is Work.UNKNOWN


@pytest.mark.parametrize("status", ["500 Oops", "403 Forbidden", "302 Found", "204 No Content"])
def test_another_status_is_unknown(status: str) -> None:
    with _talking(lambda c: c.sendall(_http(_queue(0, 0), status))) as (talker, comfyui):
        assert comfyui.queue(talker.address, SECRET).work is Work.UNKNOWN


def test_nobody_there_is_unknown() -> None:
    comfyui = ComfyUI(4)
    assert comfyui.queue(Address("127.0.0.1", free_port()), SECRET).work is Work.UNKNOWN
    comfyui.close()


def test_silence_and_dripping_are_unknown() -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not talker.done.wait(0.1):
            connection.sendall(b" ")

    with _talking(lambda c: talker.done.wait(10)) as (talker, comfyui):
        assert comfyui.queue(talker.address, SECRET).work is Work.UNKNOWN
        talker.done.set()
    with _talking(drip) as (talker, comfyui):
        assert comfyui.queue(talker.address, SECRET).work is Work.UNKNOWN
        talker.done.set()


def test_an_answer_that_never_ends_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.comfyui.BODY_LIMIT", 1 << 20)

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with _talking(flood) as (talker, comfyui):
        assert comfyui.queue(talker.address, SECRET).work is Work.UNKNOWN


def test_pages_share_an_answer_and_the_watch_asks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("manager.comfyui.time.monotonic", lambda: now[0])
    with _talking(lambda c: c.sendall(_http(_queue(0, 0)))) as (talker, comfyui):
        comfyui.queue(talker.address, SECRET)
        now[0] += CACHE_S - 0.01
        comfyui.queue(talker.address, SECRET)
        assert len(talker.requests) == 1
        comfyui.queue(talker.address, SECRET, fresh=True)
        assert len(talker.requests) == 2
        now[0] += CACHE_S
        comfyui.queue(talker.address, SECRET)
        assert len(talker.requests) == 3


def test_the_same_bytes_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    real = json.loads

    def loads(body: bytes) -> object:
        parsed.append(body)
        return real(body)

    monkeypatch.setattr("manager.comfyui.json.loads", loads)
    with _talking(lambda c: c.sendall(_http(_queue(1, 0)))) as (talker, comfyui):
        for _ in range(5):
            assert comfyui.queue(talker.address, SECRET, fresh=True).work is Work.BUSY
        assert (len(talker.requests), len(parsed)) == (5, 1)
        comfyui.forget(talker.address)
        comfyui.queue(talker.address, SECRET)
        assert len(parsed) == 2


def test_connections_stay_open_to_more_than_ten_ports() -> None:
    talkers = [Talker(lambda c: c.sendall(_http(_queue(0, 0)))) for _ in range(14)]
    comfyui = ComfyUI(len(talkers))
    try:
        for _ in range(3):
            for talker in talkers:
                comfyui.queue(talker.address, SECRET, fresh=True)
        assert [t.connections for t in talkers] == [1] * len(talkers)
    finally:
        comfyui.close()
        for talker in talkers:
            talker.close()


def test_a_proxy_in_the_environment_does_not_catch_the_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with _talking(lambda c: c.sendall(_http(_queue(0, 0)))) as (talker, comfyui):
        assert comfyui.queue(talker.address, SECRET).work is Work.IDLE


def test_the_newest_message_of_the_history_tells_the_last_work() -> None:
    history = {
        "id": {
            "prompt": [],
            "status": {
                "messages": [
                    ["execution_start", {"prompt_id": "id", "timestamp": 1_700_000_000_000}],
                    ["execution_success", {"prompt_id": "id", "timestamp": 1_700_000_004_500}],
                ]
            },
        }
    }
    answers = [json.dumps(history).encode(), b"{}", b"[]", b'{"id": {}}', b"nonsense"]
    with _talking(lambda c: c.sendall(_http(answers.pop(0)))) as (talker, comfyui):
        assert comfyui.last_work_at(talker.address, SECRET) == 1_700_000_004.5
        for _ in range(4):
            assert comfyui.last_work_at(talker.address, SECRET) is None
        assert b"GET /history?max_items=1 " in talker.requests[0]


def test_the_secret_is_shown_with_every_question_but_the_strangers() -> None:
    with _talking(lambda c: c.sendall(_http(_queue(0, 0)))) as (talker, comfyui):
        comfyui.queue(talker.address, SECRET)
        comfyui.last_work_at(talker.address, SECRET)
        comfyui.queue(talker.address, None, fresh=True)
        comfyui.refuses_strangers(talker.address)
        shown = [f"{GUARD_HEADER}: {SECRET}".encode() in request for request in talker.requests]
        assert shown == [True, True, False, False]
        assert GUARD_HEADER.encode() not in talker.requests[2] + talker.requests[3]


@pytest.mark.parametrize(
    ("status", "refuses"),
    [("403 Forbidden", True), ("200 OK", False), ("404 Not Found", False), ("302 Found", False)],
)
def test_only_403_is_a_refusal(status: str, refuses: bool) -> None:
    with _talking(lambda c: c.sendall(_http(b"", status))) as (talker, comfyui):
        assert comfyui.refuses_strangers(talker.address) is refuses


def test_no_answer_is_no_proof() -> None:
    assert ComfyUI(1).refuses_strangers(Address("127.0.0.1", free_port())) is None
    with _talking(lambda c: c.sendall(b"nonsense\r\n\r\n")) as (talker, comfyui):
        assert comfyui.refuses_strangers(talker.address) is None
