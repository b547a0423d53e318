"""Login, change of password, language and what the pages paint first."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from manager.records import Usage
from manager.states import State
from tests.support.web import NOW, PASSWORD, TOKEN, Health, Reading, Site, user


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_login_leads_to_the_own_page(site: Site) -> None:
    assert site.visitor().log_in("ann").headers["Location"] == "/"


def test_login_leads_to_the_change_of_password_when_it_is_due(site: Site) -> None:
    assert site.visitor().log_in("new").headers["Location"] == "/password"


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong"), ("nobody", PASSWORD)])
def test_a_wrong_name_and_a_wrong_password_look_the_same(
    site: Site, name: str, password: str
) -> None:
    answer = site.visitor().log_in(name, password)
    assert answer.status_code == 401
    assert "The username or password is not right" in answer.text


def test_a_throttled_login_says_how_long(site: Site) -> None:
    site.house.accounts.throttled = True
    answer = site.visitor().log_in("ann")
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "17"
    assert "You can try again in 17 s." in answer.text


def test_what_was_typed_is_not_markup(site: Site) -> None:
    answer = site.visitor().log_in('"><script>alert(1)</script>', "x")
    assert "<script>alert" not in answer.text


def test_the_forced_change_opens_the_rest(site: Site) -> None:
    visitor = site.visitor("new")
    assert visitor.get("/").headers["Location"] == "/password"
    form = {"old_password": PASSWORD, "new_password": "my own words"}
    differs = visitor.post("/password", data={**form, "repeat_password": "other"})
    assert differs.status_code == 400
    assert "not the same" in differs.text
    short = visitor.post(
        "/password", data={**form, "new_password": "short", "repeat_password": "short"}
    )
    assert "8 to 256 characters" in short.text
    done = visitor.post("/password", data={**form, "repeat_password": "my own words"})
    assert done.headers["Location"] == "/"
    assert visitor.get("/").status_code == 200


def test_a_changed_password_ends_the_other_sessions_only(site: Site) -> None:
    here, elsewhere = site.visitor("ann"), site.visitor("ann")
    answer = here.post(
        "/api/user/password",
        json={"old_password": PASSWORD, "new_password": "my own words"},
    )
    assert answer.status_code == 200
    assert here.get("/api/user/state").status_code == 200
    assert elsewhere.get("/api/user/state").status_code == 401


def test_logout_ends_the_session(site: Site) -> None:
    visitor = site.visitor("ann")
    visitor.post("/logout")
    assert visitor.get("/").headers["Location"] == "/login"
    assert not site.house.accounts.sessions


@pytest.mark.parametrize(
    ("header", "title"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "登录"),
        ("zh-TW", "登录"),
        ("en-GB,zh;q=0.5", "Log in"),
        ("fr", "Log in"),
        ("", "Log in"),
    ],
)
def test_the_browser_chooses_the_language(site: Site, header: str, title: str) -> None:
    answer = site.visitor().get("/login", **{"Accept-Language": header})
    assert f"<title>{title}" in answer.text


def test_the_visitor_chooses_the_language(site: Site) -> None:
    visitor = site.visitor()
    answer = visitor.post("/language", data={"language": "zh_CN", "next": "/login"})
    assert answer.headers["Location"] == "/login"
    assert "<title>登录" in visitor.get("/login").text


@pytest.mark.parametrize("wanted", ["https://evil.test", "//evil.test", "/\\evil.test", ""])
def test_the_language_switch_leads_nowhere_else(site: Site, wanted: str) -> None:
    answer = site.visitor().post("/language", data={"language": "en", "next": wanted})
    assert answer.headers["Location"] == "/"


def hidden(page: str, attribute: str) -> bool:
    found = re.search(rf"<[^>]*{attribute}[^>]*>", page)
    assert found, attribute
    return " hidden" in found[0]


def test_first_paint_of_an_idle_user(site: Site) -> None:
    page = site.visitor("ann").get("/").text
    assert "Ready when you are" in page
    assert not hidden(page, 'data-form="start"')
    assert hidden(page, 'data-action="open"')
    assert "4 of 4 cards free" in page


def test_a_page_without_a_script_starts_and_stops(site: Site) -> None:
    visitor = site.visitor("ann")
    assert visitor.post("/start").headers["Location"] == "/"
    assert "Starting your ComfyUI" in visitor.get("/").text
    assert visitor.post("/stop").headers["Location"] == "/"
    assert site.house.lifecycle.stops == [(8001, "ann", "user")]
    again = visitor.post("/stop")
    assert again.status_code == 409
    assert "There is nothing to stop." in again.text


def test_first_paint_when_no_card_is_free(site: Site) -> None:
    for port in (8001, 8002, 8003, 8004):
        site.house.lifecycle.put(port, State.RUNNING, user(100 + port, f"u{port}"))
    assert "All cards are in use" in site.visitor("ann").get("/").text


def test_a_port_that_cannot_be_served_is_not_free(site: Site) -> None:
    site.house.lifecycle.unavailable[8001] = "taken by another program"
    assert "3 of 4 cards free" in site.visitor("ann").get("/").text


def test_first_paint_when_the_own_port_is_gone(site: Site) -> None:
    site.house.accounts.add(2, "ann", assigned_port=8099)
    assert "port 8099, which no longer exists" in site.visitor("ann").get("/").text


def test_first_paint_of_a_start(site: Site) -> None:
    site.house.lifecycle.put(8002, State.STARTING, site.house.ann)
    site.house.watch.readings[8002] = Reading(stage="loading")
    page = site.visitor("ann").get("/").text
    assert 'data-stage="launched" data-step="done"' in page
    assert 'data-stage="loading" data-step="now" aria-current="step"' in page
    assert 'data-stage="ready" data-step="todo"' in page
    # Nobody waits for a place on this machine, so nobody reads of it.
    assert 'data-stage="queued" data-step="done" hidden' in page
    site.house.watch.readings[8002] = Reading(stage="queued")
    page = site.visitor("ann").get("/").text
    assert 'data-stage="queued" data-step="now" aria-current="step"' in page
    assert 'data-stage="launched" data-step="todo"' in page


def test_the_page_that_waits_shows_how_it_stands_and_redirects_nowhere(site: Site) -> None:
    ann, lifecycle = site.visitor("ann"), site.house.lifecycle
    assert "One moment" in ann.get("/open").text
    lifecycle.put(8002, State.STARTING, site.house.ann)
    site.house.watch.readings[8002] = Reading(stage="loading")
    page = ann.get("/open").text
    assert "This tab goes to your workspace" in page
    assert 'data-stage="loading" data-step="now" aria-current="step"' in page
    assert "token_8002" not in page
    lifecycle.put(8002, State.RUNNING, site.house.ann)
    answer = ann.get("/open")
    assert answer.status_code == 200
    assert f'href="http://manager.test:9082/?token_8002={TOKEN}"' in answer.text
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    # Another's start is nobody's but his.
    assert TOKEN not in site.visitor("bob").get("/open").text
    answer = ann.post("/language", data={"language": "zh_CN", "next": "/open"})
    assert answer.headers["Location"] == "/open"


def test_first_paint_of_a_running_instance(site: Site) -> None:
    site.house.lifecycle.put(8002, State.RUNNING, site.house.ann)
    site.house.watch.readings[8002] = Reading(idle_seconds=42, idle_left=558)
    page = site.visitor("ann").get("/").text
    assert f'href="http://manager.test:9082/?token_8002={TOKEN}"' in page
    assert "No work for 0:42" in page
    assert "stopped in 9:18" in page


def test_first_paint_after_a_crash(site: Site) -> None:
    site.house.lifecycle.usages[2] = Usage(
        "l1", 2, "ann", 8001, 1, NOW, None, NOW + 5, "died", "exit code 1"
    )
    site.house.lifecycle.log = "MemoryError <b>\n"
    page = site.visitor("ann").get("/").text
    assert "ComfyUI ended unexpectedly." in page
    assert "exit code 1" in page
    assert "MemoryError &lt;b&gt;" in page


def test_first_paint_of_the_admin_page(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    site.house.watch.readings[8001] = Reading(running=1, pending=2, idle_seconds=5, idle_left=595)
    site.house.gate.value = Health(running=False, problem="port 9081 is taken")
    page = site.visitor("admin").get("/admin").text
    assert "1 of 4 in use" in page
    assert "1\N{NO-BREAK SPACE}running, 2\N{NO-BREAK SPACE}waiting" in page
    assert "Problem: port 9081 is taken" in page
    assert 'href="/settings"' in page
    assert "Delete bob" in page


def test_the_demo_says_so(site: Site) -> None:
    assert str(site.house.settings.comfyui_path) in site.visitor("admin").get("/admin").text
    page = site.visitor("ann").get("/").text
    assert "Demo mode" in page
    assert str(site.house.settings.comfyui_path) not in page


def test_a_real_comfyui_has_no_demo_banner(site: Site) -> None:
    (site.house.settings.comfyui_path / "main.py").touch()
    assert "Demo mode" not in site.visitor("ann").get("/").text


@pytest.mark.parametrize("path", ["/", "/admin", "/open", "/password"])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_pages_have_no_inline_script_style_or_handler(site: Site, path: str, language: str) -> None:
    page = site.visitor("admin").get(path, **{"Accept-Language": language}).text
    for tag in re.findall(r"<script[^>]*>", page):
        assert "src=" in tag or 'type="application/json"' in tag
    assert not re.search(r"<[^>]*\son[a-z]+=", page)
    assert " style=" not in page
    assert "<style" not in page
    found = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    if found:
        assert json.loads(found[1])["words"]


@pytest.mark.parametrize("language", ["en", "zh-CN"])
@pytest.mark.parametrize("path", ["/", "/admin", "/open", "/password", "/nowhere"])
def test_no_key_is_left_untranslated(site: Site, path: str, language: str) -> None:
    page = site.visitor("admin").get(path, **{"Accept-Language": language}).text
    painted = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r">\s*(?:user|admin|common|state|error|nav|card)\.[a-z_.]+", painted)
    assert not re.findall(r"\{[a-z_]+\}", painted)
