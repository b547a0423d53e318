"""What is asked of a ComfyUI, against a server that answers well, badly, late or not at all."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from manager.comfyui import CACHE_S, LONG_BYTES, ComfyUI, QueueAnswer, Work
from manager.connections import USUAL
from manager.records import GUARD_HEADER, Address
from tests.support.ports import free_port
from tests.support.talker import Talker, http_answer, talking

pytestmark = pytest.mark.integration

JOB = [0, "id", {"1": {}}, {}, ["2"]]
SECRET = "s" * 32


def _queue(running: int, pending: int) -> bytes:
    return json.dumps({"queue_running": [JOB] * running, "queue_pending": [JOB] * pending}).encode()


@pytest.mark.parametrize(
    ("running", "pending", "work"),
    [(0, 0, Work.IDLE), (1, 0, Work.BUSY), (0, 1, Work.BUSY), (1, 3, Work.BUSY)],
)
def test_a_queue_is_idle_only_when_nothing_runs_and_nothing_waits(
    running: int, pending: int, work: Work
) -> None:
    with talking(lambda c: c.sendall(http_answer(_queue(running, pending)))) as (talker, comfyui):
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
        b"[" * 200_000,
        b'{"queue_running": [], "queue_pending": ' + b"[" * 200_000,
        b'{"queue_running": [], "queue_pending": [], "x": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_a_queue_is_unknown(body: bytes) -> None:
    with talking(lambda c: c.sendall(http_answer(body))) as (talker, comfyui):
        assert comfyui.queue(talker.address, SECRET).work is Work.UNKNOWN


@pytest.mark.parametrize("status", ["500 Oops", "403 Forbidden", "302 Found", "204 No Content"])
def test_another_status_is_unknown(status: str) -> None:
    with talking(lambda c: c.sendall(http_answer(_queue(0, 0), status))) as (talker, comfyui):
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

    with talking(lambda c: talker.done.wait(10)) as (talker, comfyui):
        assert comfyui.queue(talker.address, SECRET).work is Work.UNKNOWN
        talker.done.set()
    with talking(drip) as (talker, comfyui):
        assert comfyui.queue(talker.address, SECRET).work is Work.UNKNOWN
        talker.done.set()


def test_an_answer_that_never_ends_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.connections.USUAL", replace(USUAL, bytes=1 << 20))

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with talking(flood) as (talker, comfyui):
        assert comfyui.queue(talker.address, SECRET).work is Work.UNKNOWN


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunks(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


def test_an_answer_in_chunks_is_read_whole_and_the_connection_serves_again() -> None:
    answer = CHUNKED + _chunks(_queue(2, 3), 7) + b"0\r\n\r\n"
    with talking(lambda c: c.sendall(answer)) as (talker, comfyui):
        for _ in range(2):
            answered = comfyui.queue(talker.address, SECRET, fresh=True)
            assert (answered.running, answered.pending) == (2, 3)
        assert talker.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(_queue(0, 0))[:-1],
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + _queue(0, 0),
        b"HTTP/1.1 200 OK\r\n\r\n" + _queue(0, 0)[:-1],
        # Whole JSON, but the last chunk never comes: what was said is not known to be all.
        CHUNKED + _chunks(_queue(0, 0), 1000),
        CHUNKED + _chunks(_queue(0, 0), 1000)[:-5],
        CHUNKED + b"-1\r\n" + _queue(0, 0) + b"\r\n0\r\n\r\n",
        CHUNKED + b"zz\r\n" + _queue(0, 0) + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n" + _queue(0, 0),
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n" + _queue(0, 0),
    ],
    ids=[
        "length",
        "longer",
        "closed",
        "no_last_chunk",
        "chunk",
        "minus",
        "size",
        "headers",
        "line",
    ],
)
def test_what_is_cut_short_or_out_of_bounds_is_unknown(answer: bytes) -> None:
    def once(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    with talking(once) as (talker, comfyui):
        assert comfyui.queue(talker.address, SECRET).work is Work.UNKNOWN


def test_a_connection_that_was_closed_meanwhile_costs_no_answer() -> None:
    def once(connection: socket.socket) -> None:
        connection.sendall(http_answer(_queue(1, 0)))
        connection.shutdown(socket.SHUT_RDWR)

    with talking(once) as (talker, comfyui):
        for asked in range(1, 4):
            assert comfyui.queue(talker.address, SECRET, fresh=True).work is Work.BUSY
            assert talker.connections == asked


def test_pages_share_an_answer_and_the_watch_asks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("manager.comfyui.time.monotonic", lambda: now[0])
    with talking(lambda c: c.sendall(http_answer(_queue(0, 0)))) as (talker, comfyui):
        comfyui.queue(talker.address, SECRET)
        now[0] += CACHE_S - 0.01
        comfyui.queue(talker.address, SECRET)
        assert len(talker.requests) == 1
        comfyui.queue(talker.address, SECRET, fresh=True)
        assert len(talker.requests) == 2
        comfyui.queue(talker.address, SECRET)
        assert len(talker.requests) == 2, "what the watch was told serves the pages"
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
    with talking(lambda c: c.sendall(http_answer(_queue(1, 0)))) as (talker, comfyui):
        for _ in range(5):
            assert comfyui.queue(talker.address, SECRET, fresh=True).work is Work.BUSY
        assert (len(talker.requests), len(parsed)) == (5, 1)
        comfyui.forget(talker.address)
        comfyui.queue(talker.address, SECRET)
        assert len(parsed) == 2


class Jobs:
    """Answers both routes by a number of jobs; ``graph`` is how long each is printed."""

    def __init__(self, jobs: int, graph: int = LONG_BYTES) -> None:
        self.jobs, self.graph, self.asked = jobs, graph, ""
        self.remaining: object = None
        self.status = "200 OK"

    def __call__(self, connection: socket.socket) -> None:
        request = self.talker.requests[-1]
        if b"GET /prompt " in request:
            self.asked += "p"
            said = self.jobs if self.remaining is None else self.remaining
            body = json.dumps({"exec_info": {"queue_remaining": said}}).encode()
            connection.sendall(http_answer(body, self.status))
            return
        self.asked += "q"
        jobs = [[n, "x" * self.graph] for n in range(self.jobs)]
        queue = {"queue_running": jobs[:1], "queue_pending": jobs[1:]}
        connection.sendall(http_answer(json.dumps(queue).encode()))

    talker: Talker


@contextmanager
def _working(jobs: Jobs) -> Iterator[Callable[[], QueueAnswer]]:
    with talking(jobs) as (talker, comfyui):
        jobs.talker = talker
        yield lambda: comfyui.queue(talker.address, SECRET, fresh=True)


def test_a_long_queue_is_confirmed_by_its_length_and_read_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, jobs = [100.0], Jobs(3)
    monkeypatch.setattr("manager.comfyui.time.monotonic", lambda: now[0])
    with _working(jobs) as ask:
        for _ in range(24):
            assert ask() == QueueAnswer(Work.BUSY, 1, 2)
            now[0] += 1.0
    # A port of its own says when, so that those that began together do not stay together.
    assert re.fullmatch("q(p{5,9}q){2,}p*", jobs.asked)


def test_a_long_queue_that_has_changed_is_read_at_once() -> None:
    jobs = Jobs(3)
    with _working(jobs) as ask:
        ask()
        jobs.jobs = 2
        assert ask() == QueueAnswer(Work.BUSY, 1, 1)
        jobs.jobs = 0
        assert ask() == QueueAnswer(Work.IDLE, 0, 0)
        ask()
    assert jobs.asked == "qpqpqq"


@pytest.mark.parametrize("remaining", [0, -3, 1.0, True, "1", [], {}])
def test_only_the_same_number_of_jobs_confirms(remaining: object) -> None:
    jobs = Jobs(1)
    jobs.remaining = remaining
    with _working(jobs) as ask:
        for _ in range(3):
            assert ask() == QueueAnswer(Work.BUSY, 1, 0)
    assert jobs.asked == "qpqpq"


def test_without_the_short_route_the_whole_queue_is_asked_for() -> None:
    jobs = Jobs(1)
    jobs.status = "404 Not Found"
    with _working(jobs) as ask:
        ask()
        jobs.jobs = 0
        assert ask().work is Work.IDLE
    assert jobs.asked == "qpq"


def test_a_short_queue_is_asked_for_whole_each_time() -> None:
    jobs = Jobs(2, graph=1000)
    with _working(jobs) as ask:
        for _ in range(3):
            ask()
    assert jobs.asked == "qqq"


def test_that_it_is_idle_is_never_taken_from_a_number() -> None:
    body = json.dumps({"queue_running": [], "queue_pending": [], "more": "x" * LONG_BYTES})
    with talking(lambda c: c.sendall(http_answer(body.encode()))) as (talker, comfyui):
        for _ in range(3):
            assert comfyui.queue(talker.address, SECRET, fresh=True).work is Work.IDLE
        assert all(request.startswith(b"GET /queue ") for request in talker.requests)


def test_a_queue_too_long_to_be_read_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(USUAL, bytes=2 * LONG_BYTES)
    monkeypatch.setattr("manager.connections.USUAL", short)
    jobs = Jobs(5)
    with _working(jobs) as ask:
        for _ in range(3):
            assert ask() == QueueAnswer(Work.BUSY, 1, 4)
        assert jobs.asked == "qppp"
        jobs.remaining = 0
        # It cannot be long and empty.
        assert ask().work is Work.UNKNOWN
        jobs.status = "500 Oops"
        assert ask().work is Work.UNKNOWN


def test_connections_stay_open_to_more_than_ten_ports() -> None:
    talkers = [Talker(lambda c: c.sendall(http_answer(_queue(0, 0)))) for _ in range(14)]
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
    with talking(lambda c: c.sendall(http_answer(_queue(0, 0)))) as (talker, comfyui):
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
    with talking(lambda c: c.sendall(http_answer(answers.pop(0)))) as (talker, comfyui):
        assert comfyui.last_work_at(talker.address, SECRET) == 1_700_000_004.5
        for _ in range(4):
            assert comfyui.last_work_at(talker.address, SECRET) is None
        assert b"GET /history?max_items=1 " in talker.requests[0]


def test_the_history_tells_which_prompts_finished_in_their_order() -> None:
    answers = [b'{"b": {"prompt": []}, "a": {}}', b"{}", b"[]", b"nonsense"]
    with talking(lambda c: c.sendall(http_answer(answers.pop(0)))) as (talker, comfyui):
        assert comfyui.finished(talker.address, SECRET, 16) == ["b", "a"]
        assert comfyui.finished(talker.address, SECRET, 16) == []
        for _ in range(2):
            assert comfyui.finished(talker.address, SECRET, 16) is None
        assert b"GET /history?max_items=16 " in talker.requests[0]
        assert f"{GUARD_HEADER}: {SECRET}".encode() in talker.requests[0]
    assert comfyui.finished(None, SECRET, 16) is None


def test_the_secret_is_shown_with_every_question_but_the_strangers() -> None:
    with talking(lambda c: c.sendall(http_answer(_queue(0, 0)))) as (talker, comfyui):
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
    with talking(lambda c: c.sendall(http_answer(b"", status))) as (talker, comfyui):
        assert comfyui.refuses_strangers(talker.address) is refuses


def test_no_answer_is_no_proof() -> None:
    assert ComfyUI(1).refuses_strangers(Address("127.0.0.1", free_port())) is None
    with talking(lambda c: c.sendall(b"nonsense\r\n\r\n")) as (talker, comfyui):
        assert comfyui.refuses_strangers(talker.address) is None
