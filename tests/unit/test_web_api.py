"""The API: what is accepted, what is answered, and what must never be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manager.states import State
from manager.web.app import MAX_BODY_BYTES
from tests.support.web import TOKEN, Reading, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def error_of(answer: Any) -> dict[str, str]:
    body = answer.get_json()
    assert set(body) == {"error"}
    assert set(body["error"]) - {"field"} == {"code", "key", "message"}
    error: dict[str, str] = body["error"]
    assert error["message"]
    return error


def test_start_answers_at_once_with_the_new_state(site: Site) -> None:
    answer = site.visitor("ann").post("/api/user/start")
    assert answer.status_code == 202
    state = answer.get_json()
    assert state["instance"]["state"] == "starting"
    assert state["instance"]["actions"] == ["stop"]
    assert state["phase"] == "starting"


def test_no_free_card_is_said_in_words(site: Site) -> None:
    for port in list(site.house.lifecycle.rows):
        site.house.lifecycle.put(port, State.RUNNING, site.house.bob)
    answer = site.visitor("ann").post("/api/user/start")
    assert answer.status_code == 409
    assert error_of(answer)["code"] == "no_free_card"
    assert "No card is free" in error_of(answer)["message"]


def test_a_second_start_is_refused_in_the_readers_language(site: Site) -> None:
    visitor = site.visitor("ann", **{"Accept-Language": "zh-CN"})
    visitor.post("/api/user/start")
    answer = visitor.post("/api/user/start")
    assert answer.status_code == 409
    assert error_of(answer)["message"] == "您的 ComfyUI 已经启动。"


def test_stop_ends_the_own_instance_only(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.bob)
    site.house.lifecycle.put(8002, State.RUNNING, site.house.ann)
    answer = site.visitor("ann").post("/api/user/stop")
    assert answer.status_code == 202
    assert site.house.lifecycle.stops == [(8002, "ann", "user")]


def test_the_state_has_the_links_of_the_owner(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    state = site.visitor("ann").get("/api/user/state").get_json()
    query = f"?token_8001={TOKEN}"
    assert state["instance"]["workspace_url"] == f"http://manager.test:9081/{query}"
    assert state["instance"]["external_url"] == f"http://manager.test:9001/{query}"


@pytest.mark.parametrize(
    ("address", "shown"), [("10.1.2.3", "10.1.2.3"), ("[2001:db8::1]", "[2001:db8::1]")]
)
def test_links_take_the_external_address(tmp_path: Path, address: str, shown: str) -> None:
    site = Site(tmp_path, EXTERNAL_IP=address)
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    state = site.visitor("ann").get("/api/user/state").get_json()
    assert state["instance"]["workspace_url"].startswith(f"http://{shown}:9081/?")


def test_links_take_the_public_ports(tmp_path: Path) -> None:
    site = Site(tmp_path, PORTS="8001:9001:9081:1:0:19001:19081")
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    instance = site.visitor("ann").get("/api/user/state").get_json()["instance"]
    assert ":19081/?" in instance["workspace_url"]
    assert ":19001/?" in instance["external_url"]


@pytest.mark.parametrize("state", [State.STARTING, State.STOPPING])
def test_there_is_no_link_before_and_after(site: Site, state: State) -> None:
    site.house.lifecycle.put(8001, state, site.house.ann, token=TOKEN)
    text = site.visitor("ann").get("/api/user/state").text
    assert TOKEN not in text


def test_a_token_is_in_no_answer_to_anybody_else(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    site.house.watch.readings[8001] = Reading()
    admin, bob = site.visitor("admin"), site.visitor("bob")
    answers = [
        admin.get("/admin"),
        admin.get("/"),
        admin.get("/api/user/state"),
        admin.get("/api/admin/overview"),
        admin.get("/api/admin/ports/8001/log"),
        admin.post("/api/admin/ports/8001/stop"),
        bob.get("/"),
        bob.get("/api/user/state"),
        bob.get("/api/user/log"),
    ]
    assert all(TOKEN not in answer.text for answer in answers)


@pytest.mark.parametrize("raw", ["0", "-1", "x", "1e3", "262145", "9" * 400, "٣", ""])
def test_a_log_of_a_strange_length_is_refused(site: Site, raw: str) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    answer = site.visitor("ann").get(f"/api/user/log?bytes={raw}")
    assert answer.status_code == 400
    assert error_of(answer)["key"] == "bad_input.field"


def test_the_log_is_the_own_one(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    assert site.visitor("bob").get("/api/user/log").get_json()["log"] == ""
    assert site.visitor("bob").get("/api/user/log.txt").text == ""
    log = site.visitor("ann").get("/api/user/log?bytes=9").get_json()["log"]
    assert log == "ast line\n"


def test_a_log_that_is_known_is_not_sent_again(site: Site) -> None:
    lifecycle = site.house.lifecycle
    lifecycle.put(8001, State.RUNNING, site.house.ann)
    for visitor, address in (
        (site.visitor("ann"), "/api/user/log"),
        (site.visitor("admin"), "/api/admin/ports/8001/log"),
    ):
        lifecycle.log = "one line\n"
        first = visitor.get(address).get_json()
        assert first["log"] == "launch-8001: one line\n"
        again = visitor.get(f"{address}?known={first['tag']}").get_json()
        assert again == {"log": None, "tag": first["tag"]}
        lifecycle.log = "one line\nand another\n"
        more = visitor.get(f"{address}?known={first['tag']}").get_json()
        assert more["log"].endswith("and another\n")
        # The same words of another launch are another log.
        end = visitor.get(f"{address}?bytes=8").get_json()
        lifecycle.put(8001, State.RUNNING, site.house.ann, launch_id="another")
        other = visitor.get(f"{address}?bytes=8&known={end['tag']}").get_json()
        assert end["log"] == other["log"] == "another\n"
        lifecycle.put(8001, State.RUNNING, site.house.ann)


def test_a_log_is_had_as_a_file_of_plain_text(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    for visitor, address, name in (
        (site.visitor("ann"), "/api/user/log.txt", "comfyui.log.txt"),
        (site.visitor("admin"), "/api/admin/ports/8001/log.txt", "comfyui-8001.log.txt"),
    ):
        answer = visitor.get(address)
        assert answer.text == "launch-8001: the last line\n"
        assert answer.mimetype == "text/plain"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'


BAD_BODIES = [
    b"",
    b"not json",
    b"[]",
    b"null",
    b'"text"',
    b"\xff\xfe",
    b'{"username": "carl"}',
    b'{"username": "carl", "password": "long enough", "is_root": true}',
    b'{"username": 1, "password": "long enough"}',
    b'{"username": "carl", "password": "long enough", "is_admin": "yes"}',
    b'{"username": "carl", "password": "long enough", "assigned_port": "8001"}',
    b'{"username": "carl", "password": "long enough", "assigned_port": true}',
    b"[" * 5000,
    b'{"username": "' + b"x" * 2000 + b'", "password": "long enough"}',
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body[:40]))
def test_a_body_that_is_not_understood_is_refused(site: Site, body: bytes) -> None:
    answer = site.visitor("admin").post("/api/admin/users", data=body)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "bad_input"
    assert len(site.house.accounts.all) == 4


def test_a_password_is_not_repeated_in_an_error(site: Site) -> None:
    body = {"username": "carl", "password": "hush hush", "extra": "hush hush"}
    answer = site.visitor("admin").post("/api/admin/users", json=body)
    assert answer.status_code == 400
    assert "hush" not in answer.text


@pytest.mark.parametrize("path", ["/api/admin/users", "/login"])
def test_a_huge_body_is_refused(site: Site, path: str) -> None:
    body = b'{"username": "' + b"x" * MAX_BODY_BYTES + b'"}'
    answer = site.visitor("admin").post(path, data=body)
    assert answer.status_code == 413
    if path.startswith("/api/"):
        assert error_of(answer)["code"] == "too_large"
    else:
        assert "<!doctype html>" in answer.text


def test_an_admin_creates_a_user(site: Site) -> None:
    body = {"username": "carl", "password": "long enough", "assigned_port": 8003}
    answer = site.visitor("admin").post("/api/admin/users", json=body)
    assert answer.status_code == 201
    made = answer.get_json()["user"]
    assert (made["username"], made["assigned_port"], made["is_admin"]) == ("carl", 8003, False)
    again = site.visitor("admin").post("/api/admin/users", json=body)
    assert again.status_code == 409
    assert "carl" in error_of(again)["message"]


def test_a_change_leaves_alone_what_it_does_not_name(site: Site) -> None:
    admin = site.visitor("admin")
    admin.send("PATCH", "/api/admin/users/2", json={"assigned_port": 8002})
    assert site.house.accounts.all[2].assigned_port == 8002
    admin.send("PATCH", "/api/admin/users/2", json={"is_admin": True})
    assert site.house.accounts.all[2].assigned_port == 8002
    admin.send("PATCH", "/api/admin/users/2", json={"assigned_port": None})
    assert site.house.accounts.all[2].assigned_port is None


def test_disabling_a_user_ends_what_he_has(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    ann = site.visitor("ann")
    answer = site.visitor("admin").send("PATCH", "/api/admin/users/2", json={"is_active": False})
    assert answer.status_code == 200
    assert site.house.lifecycle.stops == [(8001, "admin", "admin")]
    assert ann.get("/api/user/state").status_code == 401


def test_a_reset_password_is_shown_once(site: Site) -> None:
    admin = site.visitor("admin")
    answer = admin.post("/api/admin/users/2/reset-password")
    assert answer.get_json() == {"password": "generated-once"}
    assert "generated-once" not in admin.get("/api/admin/overview").text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/admin/ports/1/stop"),
        ("GET", "/api/admin/ports/9999/log"),
        ("PATCH", "/api/admin/users/99"),
        ("DELETE", "/api/admin/users/99"),
        ("POST", "/api/admin/users/99/reset-password"),
        ("GET", "/api/nowhere"),
        ("GET", "/api/admin/users/%2e%2e/x"),
    ],
)
def test_what_is_not_there_is_said_so(site: Site, method: str, path: str) -> None:
    answer = site.visitor("admin").send(method, path, json={})
    assert answer.status_code == 404
    assert error_of(answer)["code"] == "not_found"


def test_a_wrong_method_has_the_shape_too(site: Site) -> None:
    answer = site.visitor("ann").get("/api/user/start")
    assert answer.status_code == 405
    assert error_of(answer)["code"] == "method_not_allowed"


def test_the_overview_is_whole(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    overview = json.loads(site.visitor("admin").get("/api/admin/overview").text)
    assert [port["port"] for port in overview["ports"]] == [8001, 8002, 8003, 8004]
    assert overview["ports"][0]["username"] == "ann"
    assert [user["username"] for user in overview["users"]] == ["admin", "ann", "bob", "new"]
    assert overview["load"]["cpu_percent"] == 37
    assert overview["gate"]["running"] is True
