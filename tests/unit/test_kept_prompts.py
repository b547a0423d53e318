"""Prompts that an end leaves: kept before it, offered, and sent again at most once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager import kept_files, prompts
from manager.errors import NotFound, NotRunning
from manager.records import Unfinished, User
from manager.states import Event, State
from tests.support.house import House

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}, "2": {"class_type": "SaveImage"}}


def _item(number: float, prompt_id: str, **extra: object) -> list[object]:
    return [number, prompt_id, GRAPH, {"client_id": "c", **extra}, ["2"]]


def _queue(running: list[Any], pending: list[Any]) -> bytes:
    return json.dumps({"queue_running": running, "queue_pending": pending}).encode()


def _end(house: House, ann: User, queue: bytes | None) -> None:
    """Have a session end that has this queue."""
    house.run(ann)
    if queue is not None:
        house.comfyui.queues[8001] = queue
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.step(8001)
    house.launcher.end(house.row(8001).launch_id or "", -15)
    assert house.step(8001) == "gone"


def _kept(house: House, ann: User) -> list[Unfinished]:
    return list(house.lifecycle.unfinished.of_user(ann.id))


def _folder(house: House, ann: User) -> Path:
    user = house.store.read(lambda t: t.users.get(ann.id))
    assert user is not None
    assert user.workspace
    return house.settings.data_dir / "workspaces" / user.workspace


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 2]))
def test_reading_by_pieces_is_reading(content: dict[str, Any], indent: int | None) -> None:
    expected = [
        (name, one)
        for name, value in content.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    assert list(prompts.members(json.dumps(content, indent=indent))) == expected


@given(st.text() | st.sampled_from(['{"a": [', '{"a" 1}', "[]", '{"a": 1', '{"a": [1}', "nan"]))
def test_what_is_no_object_is_refused(text: str) -> None:
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if not isinstance(whole, dict):
        with pytest.raises(ValueError, match=r"."):
            list(prompts.members(text))


def test_a_stop_keeps_what_runs_and_waits_in_its_order(house: House, ann: User) -> None:
    _end(house, ann, _queue([_item(7, "now")], [_item(9, "later"), _item(-1, "front"), ["bad"]]))
    [one] = _kept(house, ann)
    assert (one.prompts, one.state, one.left_out) == (3, "offered", 0)
    path = _folder(house, ann) / f"unfinished-{one.launch_id}.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    names = [json.loads(line)["prompt_id"] for line in path.read_text().splitlines()]
    assert names == ["now", "front", "later"]
    assert house.comfyui.freed == [8001]


def test_they_are_sent_again_as_they_were_and_never_twice(house: House, ann: User) -> None:
    _end(house, ann, _queue([_item(1, "a")], [_item(2, "b", extra_pnginfo={"w": 1})]))
    with pytest.raises(NotRunning):
        house.lifecycle.unfinished.send(ann)
    house.run(ann)
    house.comfyui.says = [(200, b"{}"), (400, b'{"error": {"message": "no such model"}}')]
    house.lifecycle.unfinished.send(ann)
    assert [json.loads(sent) for sent in house.comfyui.sent] == [
        {"prompt": GRAPH, "extra_data": {"client_id": "c"}, "partial_execution_targets": ["2"]},
        {
            "prompt": GRAPH,
            "extra_data": {"client_id": "c", "extra_pnginfo": {"w": 1}},
            "partial_execution_targets": ["2"],
        },
    ]
    [one] = _kept(house, ann)
    assert (one.state, one.accepted, one.refused) == ("sent", 1, 1)
    assert one.refusal == "no such model"
    assert not list(_folder(house, ann).glob("unfinished-*"))
    with pytest.raises(NotFound):
        house.lifecycle.unfinished.send(ann)
    assert len(house.comfyui.sent) == 2


def test_two_clicks_at_once_send_them_once(house: House, ann: User) -> None:
    _end(house, ann, _queue([], [_item(n, str(n)) for n in range(5)]))
    house.run(ann)
    waiting: list[Callable[[], None]] = []
    house.lifecycle.unfinished.spawn = waiting.append
    house.lifecycle.unfinished.send(ann)
    with pytest.raises(NotFound):
        house.lifecycle.unfinished.send(ann)
    house.lifecycle.unfinished.drop(ann)
    for work in waiting:
        work()
    assert len(house.comfyui.sent) == 5


@pytest.mark.parametrize("says", [None, (403, b"")])
def test_what_got_no_answer_is_not_sent_again_and_the_rest_is_offered(
    house: House, ann: User, says: tuple[int, bytes] | None
) -> None:
    _end(house, ann, _queue([], [_item(n, str(n)) for n in range(4)]))
    house.run(ann)
    house.comfyui.says = [(200, b"{}"), says]
    house.lifecycle.unfinished.send(ann)
    [one] = _kept(house, ann)
    assert (one.state, one.sent, one.accepted, one.refused) == ("offered", 2, 1, 0)
    house.lifecycle.unfinished.send(ann)
    assert len(house.comfyui.sent) == 4
    assert _kept(house, ann)[0].state == "sent"


def test_a_manager_killed_while_sending_goes_on_behind_the_last_one(
    house: House, ann: User
) -> None:
    _end(house, ann, _queue([], [_item(n, str(n)) for n in range(3)]))
    house.run(ann)
    launch_id = _kept(house, ann)[0].launch_id

    def work(t: Any) -> None:
        t.unfinished.claim(ann.id)
        t.unfinished.begin(launch_id, 2)

    house.store.write(work)
    house.begins()
    house.lifecycle.unfinished.send(ann)
    assert len(house.comfyui.sent) == 1
    assert _kept(house, ann)[0].state == "sent"


def test_an_end_without_prompts_offers_nothing(house: House, ann: User) -> None:
    for queue in (None, _queue([], []), b"garbage", b"{", b"\xff"):
        _end(house, ann, queue)
    assert _kept(house, ann) == []


def test_only_the_newest_sessions_prompts_are_kept(house: House, ann: User) -> None:
    for n in range(7):
        house.clock.now += 10
        _end(house, ann, _queue([], [_item(1, str(n))]))
    assert len(_kept(house, ann)) == 5
    assert len(list(_folder(house, ann).glob("unfinished-*"))) == 5


def test_what_is_newest_is_kept_though_the_clock_was_set_back(house: House, ann: User) -> None:
    for number in range(7):
        _end(house, ann, _queue([_item(number, f"p{number}")], []))
        house.clock.now -= 3600
    texts = [
        (_folder(house, ann) / f"unfinished-{one.launch_id}.jsonl").read_text()
        for one in _kept(house, ann)
    ]
    assert [json.loads(text)["prompt_id"] for text in texts] == ["p2", "p3", "p4", "p5", "p6"]


def test_what_was_sent_goes_before_what_is_offered(house: House, ann: User) -> None:
    for number in range(5):
        _end(house, ann, _queue([_item(number, f"p{number}")], []))
    waits, *others = [one.launch_id for one in _kept(house, ann)]
    house.store.write(lambda t: t.unfinished.claim(ann.id))
    for launch_id in others:
        house.store.write(lambda t, one=launch_id: t.unfinished.begin(one, 1))  # type: ignore[misc]
    house.store.write(lambda t: t.unfinished.settle())
    _end(house, ann, _queue([_item(5, "p5")], []))
    kept = _kept(house, ann)
    assert [one.launch_id for one in kept][:-1] == [waits, *others[1:]]
    assert [one.state for one in kept] == ["offered", "sent", "sent", "sent", "offered"]


def test_too_many_are_counted_and_not_kept(
    house: House, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.lifecycle.parting.MOST_PROMPTS", 2)
    _end(house, ann, _queue([], [_item(n, str(n)) for n in range(5)]))
    assert [(one.prompts, one.left_out) for one in _kept(house, ann)] == [(2, 3)]


def test_a_hung_one_is_not_asked(house: House, ann: User) -> None:
    house.run(ann)
    house.comfyui.queues[8001] = _queue([], [_item(1, "a")])
    row = house.row(8001)
    steps = house.lifecycle._steps
    house.lifecycle._moves.move(row, Event.STOP, steps.stopping(row, "hung"))
    assert house.step(8001) == "ending"
    assert house.comfyui.freed == []


def test_what_is_offered_can_be_read_and_dropped(house: House, ann: User) -> None:
    _end(house, ann, _queue([_item(1, "a")], [_item(2, "b")]))
    assert house.lifecycle.unfinished.listing(ann.id) == [
        {"nodes": 2, "kinds": ["SaveImage"], "was_running": True},
        {"nodes": 2, "kinds": ["SaveImage"], "was_running": False},
    ]
    house.lifecycle.unfinished.drop(ann)
    assert _kept(house, ann) == []
    assert not list(_folder(house, ann).glob("unfinished-*"))


def test_a_file_that_the_user_put_there_himself_is_not_trusted(
    house: House, ann: User, tmp_path: Path
) -> None:
    _end(house, ann, _queue([], [_item(1, "a")]))
    path = next(_folder(house, ann).glob("unfinished-*"))
    secret = tmp_path / "secret"
    secret.write_bytes(path.read_bytes())
    for make in (os.symlink, os.link):
        path.unlink()
        make(secret, path)
        assert kept_files.read(path.parent, path.name, 1 << 20) is None
    path.unlink()
    os.mkfifo(path)
    assert kept_files.read(path.parent, path.name, 1 << 20) is None
    house.run(ann)
    house.lifecycle.unfinished.send(ann)
    assert house.comfyui.sent == []
    assert _kept(house, ann)[0].refused == 1


def test_a_draft_that_lies_in_wait_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".a.new").symlink_to(target)
    (folder / "a").symlink_to(target)
    kept_files.write(folder, "a", [b"new\n"])
    assert target.read_text() == "mine"
    assert kept_files.read(folder, "a", 100) == [b"new"]
    assert kept_files.read(folder, "a", 3) is None


def test_nor_is_one_that_is_put_there_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".a.new").symlink_to(target)
    # As if it had come back at once.
    monkeypatch.setattr("manager.kept_files.os.unlink", lambda *_args, **_named: None)
    with pytest.raises(FileExistsError):
        kept_files.write(folder, "a", [b"new\n"])
    assert target.read_text() == "mine"


def test_history_is_kept_without_its_graphs(house: House, ann: User) -> None:
    entry = {
        "prompt": _item(1, "a"),
        "outputs": {"2": {"images": [{"filename": "a.png"}]}},
        "status": {"status_str": "success"},
    }
    long = {**entry, "outputs": {"2": "x" * 20_000}}
    house.comfyui.newest = lambda _a, _s: json.dumps({"a": entry, "b": long, "c": 1}).encode()  # type: ignore[method-assign,assignment]
    _end(house, ann, _queue([], []))
    lines = (_folder(house, ann) / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"prompt_id": "a", "status": "success", "outputs": entry["outputs"]},
        {"prompt_id": "b", "status": "success", "outputs": None},
    ]


def test_one_that_died_leaves_what_was_seen_last(house: House, ann: User) -> None:
    house.run(ann)
    house.comfyui.last_queue = lambda _address: _queue([_item(1, "a")], [])  # type: ignore[method-assign,assignment]
    house.launcher.end(house.row(8001).launch_id or "", 1)
    house.step(8001)
    assert house.row(8001).state is State.FAILED
    assert [one.prompts for one in _kept(house, ann)] == [1]


def test_so_does_one_that_dies_before_its_stop_is_looked_at(house: House, ann: User) -> None:
    house.run(ann)
    house.comfyui.last_queue = lambda _address: _queue([_item(1, "a")], [])  # type: ignore[method-assign,assignment]
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.launcher.end(house.row(8001).launch_id or "", -9)
    assert house.step(8001) == "gone"
    assert [one.prompts for one in _kept(house, ann)] == [1]


def test_what_cannot_be_written_is_kept_as_soon_as_it_can(
    house: House, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.lifecycle.parting.AGAIN_S", 0)
    monkeypatch.setattr("manager.lifecycle.parting.TRIES", 2)
    waiting: list[Callable[[], None]] = []
    house.run(ann)
    folder = _folder(house, ann)
    folder.rename(folder.with_name("aside"))
    house.lifecycle.unfinished.spawn = waiting.append
    house.comfyui.queues[8001] = _queue([_item(1, "a")], [_item(2, "b")])
    house.lifecycle.stop(8001, by=ann, reason="user")
    assert house.step(8001) == "saving"
    waiting.pop()()  # which has the rest wait for the disk
    # The stop goes on meanwhile.
    assert house.step(8001) == "ending"
    house.launcher.end(house.row(8001).launch_id or "", -15)
    assert house.step(8001) == "gone"
    assert _kept(house, ann) == []
    folder.with_name("aside").rename(folder)
    house.published.clear()
    waiting.pop()()
    assert [one.prompts for one in _kept(house, ann)] == [2]
    assert house.published == [(frozenset(), frozenset({ann.id}))]
    assert waiting == []
