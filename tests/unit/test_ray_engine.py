"""What is made of a head of Ray that answers with nonsense, too late, too much or not at all."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineSilent, LaunchFailed, SettingsError
from manager.launcher.engine import EngineNode, Job, JobState
from manager.launcher.ray import questions, words
from manager.launcher.ray.engine import RayEngine
from tests.support.fake_jobs_api import Answer, FakeHead, fake_head, raw, said

JOB = Job(
    "0123456789abcdef", ("python3", "a b.py"), {"X": "$HOME 中"}, "/tmp/x", labels={"user": "bo"}
)
TOKEN = "t" * 64


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHead]:
    monkeypatch.setattr(questions, "WAIT_S", 0.2)
    monkeypatch.setattr(questions, "WHOLE_S", 0.5)
    with fake_head() as head:
        yield head


@pytest.fixture
def engine(head: FakeHead, tmp_path: Path) -> RayEngine:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(TOKEN + "\n")
    return RayEngine(head.address, "ours", token_file=file)


def entry(**more: object) -> dict[str, Any]:
    return {
        "type": "SUBMISSION",
        "submission_id": JOB.name,
        "status": "RUNNING",
        "metadata": {words.MARK: "ours"},
        "driver_agent_http_address": "http://10.0.0.5:52365",
        **more,
    }


def dripping(head: FakeHead) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not head.over.wait(0.05):
            connection.sendall(b"x")

    return answer


def mute(head: FakeHead) -> Answer:
    return lambda _connection: head.over.wait()


NONSENSE: dict[str, Answer] = {
    "HTML": said(b"<html><title>Ray Dashboard</title>", more="Content-Type: text/html\r\n"),
    "error": said(b"Traceback\nTimeoutError: GCS", "500 Internal Server Error"),
    "unavailable": said(b"", "503 Service Unavailable"),
    "not found": said(b"404: Not Found", "404 Not Found"),
    "redirect": said(b"", "302 Found", "Location: http://127.0.0.1:1/api/jobs/\r\n"),
    "no list": said({"jobs": []}),
    "a list of nonsense": said([1, None]),
    "half an answer": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{}"),
    "the end is missing": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[]"),
    "half a head": raw(b"HTTP/1.1 200 O"),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "nothing": raw(b""),
    "deep": said(b"[" * 100_000),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_no_answer(head: FakeHead, engine: RayEngine, what: str) -> None:
    head.answers = [NONSENSE[what]]
    assert engine.look() is None
    assert engine.problem
    assert engine.probe() is None
    assert engine.logs(JOB.name, 100) == ""
    engine.cancel(JOB.name, force=True)
    engine.forget(JOB.name)


@pytest.mark.parametrize("what", NONSENSE)
def test_with_nonsense_nobody_can_tell_whether_a_job_was_taken(
    head: FakeHead, engine: RayEngine, what: str
) -> None:
    head.answers = [NONSENSE[what]]
    with pytest.raises(EngineSilent):
        engine.submit(JOB)


def test_who_is_mute_or_drips_is_not_waited_for(head: FakeHead, engine: RayEngine) -> None:
    for answer in (mute, dripping):
        head.answers = [answer(head)]
        assert engine.look() is None
        assert engine.problem in {"no answer in time", "too slow"}
        with fake_head() as second:
            second.answers = [answer(second)]
            with pytest.raises(EngineSilent):
                RayEngine(second.address, "ours").submit(JOB)
            second.over.set()
        head.over.set()
        head.over.clear()


def test_an_endless_answer_is_not_read_to_its_end(
    head: FakeHead, engine: RayEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "WHOLE_S", 20.0)

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not head.over.is_set():
            connection.sendall(b" " * 65536)

    head.answers = [endless]
    monkeypatch.setattr(questions, "MOST_BYTES", 1 << 20)
    assert RayEngine.look(engine) is None
    assert "MiB" in engine.problem


def test_nobody_listens_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    engine = RayEngine(f"http://127.0.0.1:{port}", "ours")
    assert engine.look() is None
    assert engine.problem == "nobody listens there"
    with pytest.raises(EngineSilent):
        engine.submit(JOB)


def test_proxies_of_the_environment_are_not_used(
    head: FakeHead, engine: RayEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert engine.look() == {}
    assert head.asked[0].startswith("GET /api/jobs/ HTTP/1.1\r\n")


def test_the_token_is_shown_and_in_no_error(
    head: FakeHead, engine: RayEngine, caplog: pytest.LogCaptureFixture
) -> None:
    head.answers = [said(b"Unauthorized", "401 Unauthorized"), said(b"Forbidden", "403 Forbidden")]
    for _ in range(2):
        with pytest.raises(LaunchFailed, match="RAY_TOKEN_FILE") as caught:
            engine.submit(JOB)
        assert TOKEN not in repr(caught.value)
    assert f"Authorization: Bearer {TOKEN}\r\n" in head.asked[0]
    assert TOKEN not in caplog.text + engine.problem


def test_what_is_handed_in(head: FakeHead, engine: RayEngine) -> None:
    head.answers = [said({"submission_id": JOB.name})]
    engine.submit(JOB)
    body = json.loads(head.asked[0].partition("\r\n\r\n")[2])
    assert body["submission_id"] == JOB.name
    assert body["entrypoint"] == "/usr/bin/env 'X=$HOME 中' python3 'a b.py'"
    assert body["entrypoint_resources"] == {"NPU": 1}
    assert body["metadata"]["label.user"] == "bo"
    assert body["runtime_env"] == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}}
    assert TOKEN not in json.dumps(body)


@pytest.mark.parametrize(
    ("kind", "cards", "asked"),
    [
        ("ascend", 2, {"entrypoint_resources": {"NPU": 2, "node:10.0.0.5": 0.001}}),
        ("cuda", 1, {"entrypoint_resources": {"node:10.0.0.5": 0.001}, "entrypoint_num_gpus": 1}),
        ("rocm", 3, {"entrypoint_resources": {"node:10.0.0.5": 0.001}, "entrypoint_num_gpus": 3}),
        (
            "cpu",
            1,
            {"entrypoint_resources": {"node:10.0.0.5": 0.001}, "entrypoint_num_cpus": 0.001},
        ),
    ],
)
def test_what_a_job_asks_for(kind: str, cards: int, asked: dict[str, object]) -> None:
    job = Job("a", ("true",), {}, "/x", node="10.0.0.5", cards=cards, kind=kind)
    body = words.submission(job, "ours", 60)
    assert {name: body[name] for name in body if name.startswith("entrypoint_")} == asked


def test_taken_already_is_taken_and_refused_is_refused(head: FakeHead, engine: RayEngine) -> None:
    taken = f"ValueError: Job with submission_id {JOB.name} already exists. Please use".encode()
    head.answers = [said(taken, "500 Internal Server Error")]
    engine.submit(JOB)
    for text, status in (
        (
            b"RuntimeError: Request failed with status code 400: Traceback\nTypeError: no",
            "500 Error",
        ),
        (b"TypeError: no", "400 Bad Request"),
    ):
        head.answers = [said(text, status)]
        with pytest.raises(LaunchFailed, match="TypeError: no"):
            engine.submit(JOB)


def test_of_the_list_this_manager_s_jobs_are_read(head: FakeHead, engine: RayEngine) -> None:
    others = [
        entry(submission_id="theirs", metadata={words.MARK: "theirs"}),
        entry(submission_id="hand", metadata=None),
        entry(submission_id=None, type="DRIVER"),
        entry(submission_id="odd", metadata="ours"),
    ]
    head.answers = [said([entry(), *others])]
    found = engine.look()
    assert found is not None
    assert list(found) == [JOB.name]
    assert found[JOB.name].host == "10.0.0.5"


@pytest.mark.parametrize("status", ["NEW_STATE", None, 5, ["RUNNING"]])
def test_a_state_that_nobody_knows_is_unknown(status: object) -> None:
    assert words.report(entry(status=status)).state is JobState.UNKNOWN


def test_an_address_that_is_none_is_not_known() -> None:
    for address in (None, 7, "http://[::", ""):
        assert words.report(entry(driver_agent_http_address=address)).host is None


def given_up(**more: object) -> dict[str, Any]:
    body = words.submission(JOB, "ours", 60)
    about = {name: body[name] for name in ("entrypoint", "runtime_env", "metadata")}
    why = {"status": "FAILED", "error_type": words.GAVE_UP, "message": "failed to start within 900"}
    return entry(**about, **why, driver_agent_http_address=None, **more)


def test_a_job_that_ray_gave_up_on_is_handed_in_as_it_was(
    head: FakeHead, engine: RayEngine
) -> None:
    head.answers = [said([given_up()]), said({"deleted": True}), said({"submission_id": JOB.name})]
    found = engine.look()
    assert found is not None
    assert found[JOB.name].state is JobState.QUEUED
    _, deleted, again = head.asked
    assert deleted.startswith(f"DELETE /api/jobs/{JOB.name} ")
    assert json.loads(again.partition("\r\n\r\n")[2]) == words.submission(JOB, "ours", 60)


def test_one_that_had_begun_was_cancelled_or_whose_wish_is_unknown_is_not(
    head: FakeHead, engine: RayEngine
) -> None:
    for listed in (
        given_up(driver_node_id="ab"),
        {**given_up(), "metadata": {words.MARK: "ours"}},
        {**given_up(), "metadata": {words.MARK: "ours", words.ASKED: "["}},
        {**given_up(), "metadata": {words.MARK: "ours", words.ASKED: "[]"}},
        {**given_up(), "error_type": "JOB_SUPERVISOR_ACTOR_DIED"},
    ):
        head.asked.clear()
        head.answers = [said([listed])]
        assert (engine.look() or {})[JOB.name].state is JobState.ENDED
        assert len(head.asked) == 1
    engine.cancel(JOB.name, force=False)
    head.asked.clear()
    head.answers = [said([given_up()])]
    assert (engine.look() or {})[JOB.name].state is JobState.ENDED
    assert len(head.asked) == 1


def test_one_that_cannot_be_handed_in_again_has_ended(head: FakeHead, engine: RayEngine) -> None:
    head.answers = [said([given_up()]), said({}), said(b"", "500 Error")]
    assert (engine.look() or {})[JOB.name].state is JobState.ENDED


def test_the_end_of_an_output_is_found_wherever_it_is_cut() -> None:
    text = 'a\\n"quoted" \\ 中𝄞\n' * 20
    whole = json.dumps({"logs": text}).encode()
    assert words.tail_of_logs(whole, 10_000) == text
    # As much as is kept of it: six letters for one at the most, and some to spare.
    for cut in range(1, len(whole) - (6 * 60 + 64)):
        end = words.tail_of_logs(whole[cut:], 60)
        assert 56 < len(end.encode()) <= 60
        assert text.endswith(end)
    assert words.tail_of_logs(b'{"logs": "cut sho', 100) == ""


def node(address: str, **more: object) -> dict[str, object]:
    about = {"node_id": address[-1] * 8, "node_ip": address, "state": "ALIVE", "start_time_ms": 1}
    return {**about, "resources_total": {"NPU": 8.0, "CPU": 4.0}, **more}


def listed(*nodes: object) -> dict[str, Any]:
    return {"data": {"result": {"result": list(nodes)}}}


def test_nodes_are_read_with_what_is_in_use() -> None:
    used = {"1" * 8: {"NPU": [2.5, 8.0], "CPU": [0, 4]}}
    status = {"data": {"clusterStatus": {"loadMetricsReport": {"usageByNode": used}}}}
    gpu = {"GPU": 2.0, "accelerator_type:A100": 1.0}
    amd = {"GPU": 4.0, "accelerator_type:AMD-Instinct-MI300X": 1.0}
    states = listed(
        node("10.0.0.1"),
        node("10.0.0.2", resources_total=gpu),
        node("10.0.0.3", resources_total=amd),
        node("10.0.0.4", resources_total=None, state="DEAD", state_message="lost\nits head"),
        node("10.0.0.5", state="SOMETHING"),
        {"node_ip": None},
        7,
    )
    assert words.nodes(states, status) == (
        EngineNode("10.0.0.1", "10.0.0.1", True, {"ascend": 8}, {"ascend": 3}),
        EngineNode("10.0.0.2", "10.0.0.2", True, {"cuda": 2}),
        EngineNode("10.0.0.3", "10.0.0.3", True, {"rocm": 4}),
        EngineNode("10.0.0.4", "10.0.0.4", False, {}, why="lost its head"),
        EngineNode("10.0.0.5", "10.0.0.5", None, {"ascend": 8}),
    )
    assert words.nodes({"data": None}, None) is None


def test_a_machine_that_came_back_is_not_told_of_as_dead() -> None:
    dead = node("10.0.0.1", state="DEAD", start_time_ms=1)
    alive = node("10.0.0.1", start_time_ms=2)
    unsure = (
        node("10.0.0.1", state="DEAD", start_time_ms=None),
        node("10.0.0.1", start_time_ms=None),
    )
    orders = (listed(dead, alive), listed(alive, dead), listed(*unsure), listed(*unsure[::-1]))
    for states in orders:
        found = words.nodes(states, None)
        assert found is not None
        assert [one.alive for one in found] == [True]


def test_whether_strangers_are_turned_away_is_tried(head: FakeHead, engine: RayEngine) -> None:
    version = said({"ray_version": "2.60.0"})
    for last, guarded in ((said([]), False), (said(b"", "401 Unauthorized"), True)):
        head.asked.clear()
        head.answers = [version, said(listed()), said({}), last]
        facts = engine.probe()
        assert facts is not None
        assert (facts.version, facts.guarded, facts.nodes) == ("2.60.0", guarded, ())
        assert "Authorization" not in head.asked[-1]


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        ("t" * 64, 0o640, "chmod 600"),
        ("", 0o600, "one word"),
        ("two words", 0o600, "one word"),
        ("word\r\nX-Evil: 1", 0o600, "one word"),
        ("gehüpft", 0o600, "one word"),
        ("x" * 5000, 0o600, "one word"),
    ],
)
def test_a_token_that_is_none_or_that_others_can_read_is_refused(
    tmp_path: Path, text: str, mode: int, reason: str
) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(SettingsError, match=reason) as caught:
        RayEngine("http://127.0.0.1:1", "ours", token_file=file)
    assert not text or text not in str(caught.value)


def test_an_authority_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(SettingsError, match="RAY_CA_FILE"):
        RayEngine("https://127.0.0.1:1", "ours", ca_file=file)
