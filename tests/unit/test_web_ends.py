"""What pages and API say of an unhappy end, a hang and a waiting restart, also without script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from manager.lifecycle.reasons import KINDS
from manager.records import Restart, Usage
from manager.states import State
from tests.support.web import NOW, Reading, Site

CUDA = "AssertionError: Torch not compiled with CUDA enabled"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def ended(site: Site, kind: str | None, line: str | None = None, code: int | None = 1) -> None:
    site.house.lifecycle.usages[2] = Usage(
        *("l1", 2, "ann", 8001, 1, NOW, None, NOW + 5, "died", f"exit code {code}\nthe tail"),
        *(kind, line, code),
    )


def shown(page: str, role: str) -> str:
    found = re.search(rf'<(\w+)[^>]*data-role="{role}"[^>]*>(.*?)</\1>', page, re.DOTALL)
    assert found, role
    return "" if " hidden" in found[0].split(">")[0] else found[2].strip()


@pytest.mark.parametrize(
    ("language", "what", "hint"),
    [
        ("en", "PyTorch finds no accelerator.", "set_env.sh"),
        ("zh", "PyTorch 找不到加速卡。", "CANN"),
    ],
)
def test_the_reason_is_painted_in_the_readers_language(
    site: Site, language: str, what: str, hint: str
) -> None:
    ended(site, "no_accelerator", CUDA)
    page = site.visitor("ann", **{"Accept-Language": language}).get("/").text
    assert shown(page, "reason-what") == what
    assert shown(page, "reason-line") == CUDA
    assert hint in shown(page, "reason-hint")
    assert shown(page, "fault") == "", "the raw text is not said twice"
    assert "the last line" in shown(page, "log-tail")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_leaves_no_place_open(site: Site, kind: str) -> None:
    ended(site, kind, None, -11)
    page = site.visitor("ann").get("/").text
    assert "{" not in shown(page, "reason-what")
    assert "fault." not in shown(page, "reason-what") + shown(page, "reason-hint")


def test_a_signal_is_named_and_a_code_told(site: Site) -> None:
    ended(site, "signal", None, -11)
    visitor = site.visitor("ann")
    assert "SIGSEGV" in shown(visitor.get("/").text, "reason-what")
    usage = visitor.get("/api/user/state").get_json()["last_usage"]
    assert (usage["fault_kind"], usage["exit_code"], usage["signal"]) == ("signal", -11, "SIGSEGV")
    ended(site, "exit_code", "gave up", 7)
    assert "exit code 7" in shown(visitor.get("/").text, "reason-what")


def test_an_end_from_before_reasons_were_kept_shows_its_text(site: Site) -> None:
    ended(site, None)
    page = site.visitor("ann").get("/").text
    assert "exit code 1" in shown(page, "fault")
    assert re.search(r'<div class="reason"[^>]* hidden', page)


def test_what_was_printed_is_not_markup(site: Site) -> None:
    ended(site, "python_error", "ValueError: <script>alert(1)</script>")
    page = site.visitor("ann").get("/").text
    assert "<script>alert" not in page


def test_an_admin_sees_reason_restart_and_hang_of_each_port(site: Site) -> None:
    site.house.lifecycle.put(
        *(8001, State.FAILED, site.house.ann),
        username=None,
        fault="exit code 2",
        fault_kind="bad_flag",
        fault_line="main.py: error: x",
        exit_code=2,
    )
    site.house.lifecycle.restarts[2] = Restart(2, 8001, 11.2, 1, 3)
    site.house.lifecycle.put(8002, State.RUNNING, site.house.bob)
    site.house.watch.readings[8002] = Reading(responding=False, hung_since=NOW)
    visitor = site.visitor("admin")
    page = visitor.get("/admin").text
    for text in ("A start flag is wrong.", "main.py: error: x", "correct COMFYUI_ARGS"):
        assert text in page
    assert "restarts in 12 s" in page
    assert "not responding since 20" in page
    first = visitor.get("/api/admin/overview").get_json()["ports"][0]
    assert first["restart"] == {"seconds": 12, "attempt": 1, "most": 3, "over": None}


def test_a_hang_is_said_to_its_user_and_nothing_is_said_of_a_healthy_one(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    site.house.watch.readings[8001] = Reading()
    visitor = site.visitor("ann")
    assert re.search(r'data-role="hung"[^>]* hidden', visitor.get("/").text)
    site.house.watch.readings[8001] = Reading(responding=False, hung_since=NOW)
    page = visitor.get("/").text
    assert not re.search(r'data-role="hung"[^>]* hidden', page)
    assert shown(page, "hung-since").startswith("Not responding since 20")


def test_a_waiting_restart_is_shown_and_can_be_cancelled(site: Site) -> None:
    ended(site, "signal", None, -9)
    site.house.lifecycle.restarts[2] = Restart(2, 8001, 4.4, 2, 3)
    visitor = site.visitor("ann")
    page = visitor.get("/").text
    assert shown(page, "restart-text") == "It restarts by itself in 5 s (attempt 2 of 3)."
    assert "Do not restart" in page
    state = visitor.post("/api/user/cancel-restart").get_json()
    assert state["restart"] is None
    assert not site.house.lifecycle.restarts


def test_without_a_script_the_restart_is_cancelled_too(site: Site) -> None:
    site.house.lifecycle.restarts[2] = Restart(2, 8001, 4.4, 2, 3)
    site.house.lifecycle.restarts[3] = Restart(3, 8002, 4.4, 1, 3)
    assert site.visitor("ann").post("/cancel-restart").status_code == 302
    assert list(site.house.lifecycle.restarts) == [3], "nobody else's"


@pytest.mark.parametrize(
    ("over", "said"), [("given_up", "restarted 3 times within 30 minutes"), ("taken", "in use by")]
)
def test_a_restart_that_will_not_come_is_explained_without_a_button(
    site: Site, over: str, said: str
) -> None:
    ended(site, "signal", None, -9)
    site.house.lifecycle.restarts[2] = Restart(2, 8001, 0, 4, 3, over)
    page = site.visitor("ann").get("/").text
    assert said in shown(page, "restart-text")
    assert re.search(r'data-form="cancel-restart" hidden', page)
