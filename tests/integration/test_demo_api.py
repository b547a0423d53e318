"""The demo answers as a ComfyUI does: routes, events, files, refusals."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket
from PIL import Image

from tests.support.demo import IMAGE, Demo, ready_demo, sleep_graph
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    with ready_demo(tmp_path) as demo:
        yield demo


def listen(demo: Demo, client_id: str) -> websocket.WebSocket:
    address = f"ws://127.0.0.1:{demo.port}/ws?clientId={client_id}"
    return websocket.create_connection(address, timeout=10)


def events_until(socket: websocket.WebSocket, last: tuple[str, object]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        found.append(json.loads(socket.recv()))
        kind, data = found[-1]["type"], found[-1]["data"]
        if (kind, data.get("node", "")) == last:
            return found


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_every_route_exists_bare_and_below_api(demo: Demo, prefix: str) -> None:
    assert demo.get(prefix + "/queue").json() == {"queue_running": [], "queue_pending": []}
    assert demo.get(prefix + "/prompt").json() == {"exec_info": {"queue_remaining": 0}}
    assert demo.get(prefix + "/history").json() == {}
    assert "SaveImage" in demo.get(prefix + "/object_info").json()
    argv = demo.get(prefix + "/system_stats").json()["system"]["argv"]
    assert argv[argv.index("--port") + 1] == str(demo.port)
    for path in ("/interrupt", "/free", "/queue", "/history"):
        answer = demo.post(prefix + path, json={})
        assert (answer.status_code, answer.content) == (200, b"")


def test_a_job_makes_an_image_and_a_history_entry(demo: Demo) -> None:
    first, second = demo.submit(IMAGE), demo.submit(IMAGE)
    demo.entry(second)
    entry = demo.entry(first)
    assert entry["status"]["status_str"] == "success"
    image = entry["outputs"]["2"]["images"][0]
    assert image == {"filename": "t_00001_.png", "subfolder": "", "type": "output"}
    assert (demo.folder / "output" / "t_00002_.png").is_file()
    picture = Image.open(io.BytesIO(demo.get("/view", params=image).content))
    assert (picture.format, picture.size) == ("PNG", (32, 32))
    assert list(demo.get("/history").json()) == [first, second]
    assert list(demo.get("/history?max_items=1").json()) == [second]


def test_events_come_in_comfyuis_order(demo: Demo) -> None:
    socket, other = listen(demo, "me"), listen(demo, "other")
    try:
        first = json.loads(socket.recv())
        assert first["type"] == "status"
        assert first["data"] == {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "me"}
        # Until it is greeted, the other may still be told what runs when it arrives.
        assert json.loads(other.recv())["type"] == "status"
        demo.submit(IMAGE, client_id="me")
        events = events_until(socket, ("executing", None))
        kinds = [event["type"] for event in events if event["type"] != "status"]
        assert kinds == [
            *("execution_start", "execution_cached", "executing", "executing", "executed"),
            *("execution_success", "executing"),
        ]
        assert events[0]["type"] == "status"
        # Others hear only that the queue changed.
        heard = json.loads(other.recv())
        while heard["data"]["status"]["exec_info"]["queue_remaining"] != 1:
            heard = json.loads(other.recv())
        while heard["data"]["status"]["exec_info"]["queue_remaining"] != 0:
            heard = json.loads(other.recv())
            assert heard["type"] == "status"
    finally:
        socket.close()
        other.close()


def test_progress_is_reported_and_a_client_that_comes_back_is_told_the_node(demo: Demo) -> None:
    socket = listen(demo, "me")
    try:
        socket.recv()
        demo.submit(sleep_graph(1), client_id="me")
        events = events_until(socket, ("progress", "1"))
        assert {"value", "max", "node", "prompt_id"} <= set(events[-1]["data"])
        again = listen(demo, "me")
        kinds = [json.loads(again.recv())["type"] for _ in range(2)]
        assert kinds == ["status", "executing"]
        again.close()
    finally:
        socket.close()


def test_interrupt_ends_the_named_running_job_only(demo: Demo) -> None:
    running, waiting = demo.submit(sleep_graph(600)), demo.submit(IMAGE)
    wait_until(lambda: demo.get("/queue").json()["queue_running"], what="running")
    demo.post("/interrupt", json={"prompt_id": waiting})
    assert [item[1] for item in demo.get("/queue").json()["queue_running"]] == [running]
    demo.post("/interrupt", json={"prompt_id": running})
    assert demo.entry(running)["status"]["messages"][-1][0] == "execution_interrupted"
    assert demo.entry(waiting)["status"]["completed"] is True


def test_waiting_jobs_can_be_deleted_moved_ahead_and_cleared(demo: Demo) -> None:
    demo.submit(sleep_graph(600))
    wait_until(lambda: demo.get("/queue").json()["queue_running"], what="running")
    gone, back = demo.submit(IMAGE), demo.submit(IMAGE)
    ahead = demo.submit(IMAGE, front=True)
    demo.post("/queue", json={"delete": [gone]})
    pending = demo.get("/queue").json()["queue_pending"]
    assert [item[1] for item in pending] == [ahead, back]
    assert pending[0][0] < 0
    demo.post("/queue", json={"delete": []})
    assert demo.remaining() == 3
    demo.post("/queue", json={"clear": True})
    assert demo.remaining() == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "no_prompt"),
        ({"prompt": 5}, "invalid_prompt"),
        ({"prompt": {"1": {"inputs": {}}}}, "invalid_prompt"),
        ({"prompt": {"1": {"class_type": "EmptyImage"}}}, "prompt_no_outputs"),
        ({"prompt": {"1": {"class_type": "SaveImage"}}}, "prompt_outputs_failed_validation"),
        (
            {"prompt": {"1": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}},
            "dependency_cycle",
        ),
        (
            {"prompt": {"1": {"class_type": "SaveImage", "inputs": {"images": ["9", 0]}}}},
            "invalid_prompt",
        ),
    ],
)
def test_a_wrong_prompt_is_refused_in_comfyuis_shape(
    demo: Demo, body: dict[str, object], kind: str
) -> None:
    answer = demo.post("/prompt", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == kind
    assert set(answer.json()["error"]) == {"type", "message", "details", "extra_info"}
    assert "node_errors" in answer.json()


def test_what_is_not_json_is_500_as_in_comfyui(demo: Demo) -> None:
    assert demo.post("/prompt", data=b"not json").status_code == 500
    assert demo.post("/queue", data=b"[]").status_code == 500
    assert demo.answers()


def test_a_job_that_cannot_be_saved_fails_and_the_next_one_runs(demo: Demo) -> None:
    bad = json.loads(json.dumps(IMAGE))
    bad["2"]["inputs"]["filename_prefix"] = "../../outside"
    entry = demo.entry(demo.submit(bad))
    assert entry["status"]["status_str"] == "error"
    kind, details = entry["status"]["messages"][-1]
    assert kind == "execution_error"
    assert "outside the output folder" in details["exception_message"]
    assert not list(demo.folder.parent.glob("outside*"))
    assert demo.entry(demo.submit(IMAGE))["status"]["completed"] is True


def test_files_are_served_from_their_folders_alone(demo: Demo) -> None:
    (demo.folder / "secret.png").write_bytes(b"secret")
    (demo.folder / "output" / "link.png").symlink_to(demo.folder / "secret.png")
    for query in (
        "filename=../secret.png",
        "filename=/etc/passwd",
        "filename=secret.png&subfolder=..",
        "filename=x.png&type=user",
        "filename=link.png",
        "filename=",
    ):
        assert demo.get(f"/view?{query}").status_code == 400, query
    assert demo.get("/view?filename=missing.png").status_code == 404


def test_uploads_land_in_input_and_never_elsewhere(demo: Demo) -> None:
    def upload(name: str) -> tuple[int, str]:
        answer = demo.post("/upload/image", files={"image": (name, b"png")})
        return answer.status_code, answer.json()["name"] if answer.ok else ""

    assert upload("a.png") == (200, "a.png")
    assert upload("a.png") == (200, "a (1).png")
    assert upload("../a.png")[0] == 400
    assert sorted(path.name for path in (demo.folder / "input").iterdir()) == ["a (1).png", "a.png"]


def test_pages_of_other_sites_are_refused(demo: Demo) -> None:
    assert demo.get("/queue", headers={"Origin": demo.url}).status_code == 200
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert demo.get("/queue", headers=headers).status_code == 403
    assert demo.get("/queue", headers={"Host": "lab.example", "Origin": "http://x"}).ok


@pytest.mark.parametrize(
    ("language", "says"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "演示 — 这不是 ComfyUI"),
        ("en-GB", "Demo — this is not ComfyUI"),
        ("fr", "Demo — this is not ComfyUI"),
    ],
)
def test_the_page_says_what_it_is_not_in_the_visitors_language(
    demo: Demo, language: str, says: str
) -> None:
    answer = demo.get("/", headers={"Accept-Language": language})
    assert says in answer.text
    assert "COMFYUI_PATH" in answer.text
    assert "script-src" not in answer.text
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    for part in ('href="/', 'src="/', "http://", "https://"):
        assert part not in answer.text


def test_previews_are_wiped_at_start_and_the_user_folder_must_exist(tmp_path: Path) -> None:
    with ready_demo(tmp_path) as demo:
        preview = json.loads(json.dumps(IMAGE))
        preview["2"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
        image = demo.entry(demo.submit(preview))["outputs"]["2"]["images"][0]
        assert image["type"] == "temp"
        assert (tmp_path / "temp" / "temp" / image["filename"]).is_file()
    with ready_demo(tmp_path):
        assert list((tmp_path / "temp" / "temp").iterdir()) == []


def test_many_sockets_at_once_are_served(demo: Demo) -> None:
    sockets = [listen(demo, f"client{number}") for number in range(60)]
    try:
        for socket in sockets:
            assert json.loads(socket.recv())["type"] == "status"
        demo.submit(IMAGE)
        for socket in sockets:
            assert json.loads(socket.recv())["type"] == "status"
    finally:
        for socket in sockets:
            socket.close()
