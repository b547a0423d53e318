"""Keeping a queue, against servers that answer well, late or never, and over whole sessions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from manager.comfyui import LONG
from manager.connections import BODY_LIMIT
from manager.records import GUARD_HEADER
from tests.integration.test_whole_program import JOB, House
from tests.support.client import Workspace
from tests.support.talker import http_answer, talking
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

SECRET = "s" * 32
SLEEP = {**JOB, "3": {"class_type": "Sleep", "inputs": {"seconds": 600, "value": ["1", 0]}}}


def test_a_queue_longer_than_a_check_reads_is_kept_whole() -> None:
    body = b'{"queue_running": [], "queue_pending": ["' + b"x" * BODY_LIMIT + b'"]}'
    with talking(lambda c: c.sendall(http_answer(body))) as (talker, comfyui):
        assert comfyui.whole_queue(talker.address, SECRET) == body


def test_what_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.comfyui.LONG", type(LONG)(1000, 0.1, 0.2))
    monkeypatch.setattr("manager.comfyui.ORDER", type(LONG)(1000, 0.1, 0.2))
    for talk in (
        lambda _c: None,
        lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12"),
        lambda c: c.sendall(http_answer(b"x" * 2000)),
        lambda c: c.close(),
    ):
        with talking(talk) as (talker, comfyui):
            assert comfyui.whole_queue(talker.address, SECRET) is None
            assert comfyui.newest(talker.address, SECRET) is None
            assert comfyui.send(talker.address, SECRET, b"{}") is None
            assert comfyui.free(talker.address, SECRET) is False


def test_an_order_is_sent_once_with_the_secret_and_answered_in_full() -> None:
    refusal = b'{"error": {"message": "no"}}'
    with talking(lambda c: c.sendall(http_answer(refusal, "400 Bad Request"))) as (
        talker,
        comfyui,
    ):
        # A connection that is kept open is not used: whether it still stands nobody could tell.
        comfyui.queue(talker.address, SECRET)
        assert comfyui.send(talker.address, SECRET, b'{"prompt": {}}') == (400, refusal)
        head, _, content = talker.requests[-1].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /prompt HTTP/1.1\r\n")
        assert f"{GUARD_HEADER}: {SECRET}".encode() in head
        assert content == b'{"prompt": {}}'
        assert len(talker.requests) == 2
        assert comfyui.free(talker.address, SECRET) is False


def test_only_a_short_queue_with_work_is_remembered() -> None:
    job = [1, "a", {"1": {}}, {}, ["1"]]
    busy = json.dumps({"queue_running": [job], "queue_pending": []}).encode()
    long = json.dumps({"queue_running": [[*job, "x" * 70_000]], "queue_pending": []}).encode()
    for body, kept in ((busy, busy), (long, None), (busy, busy), (_empty(), None)):
        with talking(lambda c, body=body: c.sendall(http_answer(body))) as (talker, comfyui):  # type: ignore[misc]
            comfyui.queue(talker.address, SECRET)
            assert comfyui.last_queue(talker.address) == kept
            comfyui.forget(talker.address)
            assert comfyui.last_queue(talker.address) is None


def _empty() -> bytes:
    return b'{"queue_running": [], "queue_pending": []}'


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def _queues(house: House, stack: ExitStack) -> Workspace:
    """Have a's ComfyUI work for minutes, with one more behind it."""
    workspace = Workspace(house.a.start()["workspace_url"])
    stack.callback(workspace.close)
    for job in (SLEEP, JOB):
        assert workspace.post("/prompt", {"prompt": job}).ok
    return workspace


def test_what_the_operators_stop_ends_is_offered_at_the_next_start(
    tmp_path: Path, stack: ExitStack
) -> None:
    house = House(tmp_path, stack)
    _queues(house, stack)
    assert house.manager.run("stop").returncode == 0
    process = house.manager.process
    assert process is not None
    process.wait(30)
    house.manager.start()
    kept = house.a.state()["kept"]
    assert (kept["state"], kept["waiting"]) == ("offered", 2)
    assert house.b.state()["kept"] is None
    house.a.start()
    house.a.post("/api/user/kept-prompts/send")
    wait_until(lambda: house.a.state()["kept"]["accepted"] == 2, what="both are sent")
    assert house.a.state()["kept"]["state"] == "sent"


def test_what_a_full_disk_refuses_is_offered_once_there_is_room(
    tmp_path: Path, stack: ExitStack
) -> None:
    house = House(tmp_path, stack)
    _queues(house, stack)
    (folder,) = (house.manager.data_dir / "workspaces").glob("*-a-*")
    # A folder that is not there cannot be written to either, and whoever runs this can do it.
    folder.rename(folder.with_name("aside"))
    house.a.stop()
    assert house.a.state()["kept"] is None
    folder.with_name("aside").rename(folder)
    kept = wait_until(lambda: house.a.state()["kept"], what="what it left") or {}
    assert (kept["state"], kept["waiting"]) == ("offered", 2)


def test_a_hung_one_ends_in_time_without_its_queue(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, COMFYUI_ARGS="--demo-zero-boot --demo-hang-http 3")
    house.a.start()
    wait_until(lambda: house.a.state()["instance"]["responding"] is False, what="the silence")
    house.a.stop()
    state = house.a.until_gone()
    assert (state["last_usage"]["end_reason"], state["kept"]) == ("user", None)


def test_one_that_crashes_leaves_what_was_seen_last(tmp_path: Path, stack: ExitStack) -> None:
    house = House(
        tmp_path,
        stack,
        COMFYUI_ARGS="--demo-zero-boot --demo-crash-after 4",
        QUEUE_CHECK_INTERVAL="0.2",
    )
    _queues(house, stack)
    state = house.a.until_gone()
    assert state["last_usage"]["end_reason"] == "died"
    wait_until(lambda: house.a.state()["kept"], what="what it left")
    assert house.a.state()["kept"]["waiting"] == 2
