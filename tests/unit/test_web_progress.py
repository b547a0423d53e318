"""Running work on the pages: to its owner with the node's title, to admins by its kind alone."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from manager.states import State
from manager.web import views
from manager.web.progress import STILL_AFTER_S
from tests.support import states
from tests.support.web import Reading, Site

TITLE = "Sampler <of mine>"
WORK = replace(states.WORK, title=TITLE)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    built = Site(tmp_path)
    built.house.lifecycle.put(8001, State.RUNNING, built.house.ann)
    built.house.watch.readings[8001] = Reading(running=1, pending=3)
    built.house.follower.known[8001] = replace(WORK, progressed_at=time.monotonic())
    return built


def of_admin(site: Site) -> dict[str, object] | None:
    (port,) = [p for p in views.overview(site.house, 0)["ports"] if p["port"] == 8001]
    found: dict[str, object] | None = port["progress"]
    return found


def own(site: Site) -> dict[str, object] | None:
    state = site.visitor("ann").get("/api/user/state").json
    assert state is not None
    found: dict[str, object] | None = state["instance"]["progress"]
    return found


def test_its_owner_reads_the_title_and_admins_the_kind(site: Site) -> None:
    assert own(site) == {
        "told": True,
        "node": TITLE,
        "step": 5,
        "steps": 20,
        "percent": 42,
        "finished": 3,
        "nodes": 8,
        "prompt": 2,
        "prompts": 5,
        "seconds": 61,
        "still_minutes": None,
    }
    assert of_admin(site) == {**(own(site) or {}), "node": "KSampler"}
    assert "of mine" not in site.visitor("admin").get("/admin").text


def test_a_node_without_a_title_goes_by_its_kind(site: Site) -> None:
    site.house.follower.known[8001] = replace(WORK, title="")
    assert (own(site) or {})["node"] == "KSampler"


def test_first_paint(site: Site) -> None:
    page = site.visitor("ann").get("/").text
    assert "Now: Sampler &lt;of mine&gt; · step 5 of 20" in page
    assert "Prompt 2 of 5 · 3 of 8 nodes done · 1:01 on this prompt" in page
    assert 'max="100" value="42"' in page
    admin = site.visitor("admin").get("/admin").text
    assert "42 %, KSampler" in admin


def test_what_has_not_moved_for_long_is_said_and_no_more(site: Site) -> None:
    since = time.monotonic() - STILL_AFTER_S - 70
    site.house.follower.known[8001] = replace(WORK, progressed_at=since)
    assert (own(site) or {})["still_minutes"] == 6
    page = site.visitor("ann").get("/").text
    assert "Nothing new for 6 min." in page
    assert "nothing new for 6 min" in site.visitor("admin").get("/admin").text


def test_one_that_cannot_tell_is_said_to_be_at_work(site: Site) -> None:
    site.house.follower.known[8001] = replace(WORK, told=False)
    page = site.visitor("ann").get("/").text
    assert "How far it is, this instance cannot tell." in page
    assert "KSampler" not in page


@pytest.mark.parametrize("running", [0, None])
def test_without_work_nothing_is_shown(site: Site, running: int | None) -> None:
    site.house.watch.readings[8001] = Reading(running=running)
    assert own(site) is None
    assert 'data-role="work" hidden' in site.visitor("ann").get("/").text


def test_what_the_last_one_on_this_port_did_is_nobodys_business(site: Site) -> None:
    site.house.follower.known[8001] = replace(WORK, launch_id="before")
    assert own(site) is None
    assert of_admin(site) is None


def test_without_a_word_it_is_at_work_all_the_same(site: Site) -> None:
    del site.house.follower.known[8001]
    assert "ComfyUI is at work." in site.visitor("ann").get("/").text


def test_what_runs_on_a_port_is_not_taken_for_what_is_reserved_there(site: Site) -> None:
    page = site.visitor("admin").get("/admin").text
    (row,) = re.findall(r'<tr data-port="8001".*?</tr>', page, re.DOTALL)
    assert "KSampler" in row
    assert re.search(r'data-rule="put-back"[^>]* hidden>', row)
    assert re.search(r'data-rule="drain"[^>]*" >', row)
