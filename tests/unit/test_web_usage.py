"""The record of use on the pages, in the API and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from manager.counts import Own, Sitting, Total
from manager.web import i18n, usage
from manager.web.app import duration
from tests.support.web import NOW, Site

ANN = Total("ann", 3, 7 * 3600.0, 3 * 3600.9, 3600.0, 90.0, 12, 2, 150.5)
BOB = Total("bob", 1, 59.0, 0.0, 0.0, 0.0, 0, 0, None)
SESSION = Sitting("ann", 8001, 1, NOW, NOW + 7200, "idle", 61.9, 7200.0, 3600.0, 600.0, 0.0, 4)
LASTING = replace(SESSION, ended_at=None, end_reason=None, waited_seconds=None)


pytestmark = pytest.mark.usefixtures("shanghai")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    built = Site(tmp_path)
    book = built.house.lifecycle.book
    book.all = {"user": [ANN, BOB], "card": [replace(ANN, key="1")]}
    book.sessions = [SESSION, LASTING]
    book.own_of[2] = Own(ANN, replace(ANN, prompts=40), [SESSION])
    return built


@pytest.mark.parametrize(
    ("period", "since"),
    [
        ("today", "2026-11-24"),
        ("7d", "2026-11-18"),
        ("30d", "2026-10-26"),
        ("all", "0001-01-01"),
    ],
)
def test_a_period_is_whole_days(site: Site, period: str, since: str) -> None:
    answer = site.visitor("admin").get(f"/api/admin/usage?period={period}&by=card")
    assert answer.get_json()["period"] == period
    assert site.house.lifecycle.book.asked[-2:] == [("card", since), (since, usage.SHOWN_TO_ADMINS)]


def test_admins_see_totals_and_sessions(site: Site) -> None:
    view = site.visitor("admin").get("/api/admin/usage").get_json()
    assert (view["period"], view["by"]) == ("7d", "user")
    assert view["totals"][0] == {
        "key": "ann",
        "sessions": 3,
        "held_seconds": 25_200,
        "worked_seconds": 10_802,
        "idle_seconds": 3600,
        "unknown_seconds": 90,
        "prompts": 12,
        "waited": 2,
        "waited_median": 150,
        "share": 75,
    }
    # Nothing is known of it: no share, not none.
    assert view["totals"][1]["share"] is None
    assert view["sessions"][0]["waited_seconds"] == 61
    assert view["sessions"][1]["end_reason"] is None


@pytest.mark.parametrize("query", ["period=1d", "by=name", "by=session", "period="])
def test_what_is_not_offered_is_refused(site: Site, query: str) -> None:
    admin = site.visitor("admin")
    assert admin.get(f"/api/admin/usage?{query}").status_code == 400
    assert admin.get(f"/admin?{query}").status_code == 400


def test_a_user_sees_his_own_and_only_that(site: Site) -> None:
    ann, bob = site.visitor("ann"), site.visitor("bob")
    mine = ann.get("/api/user/usage").get_json()
    assert (mine["today"]["prompts"], mine["week"]["prompts"]) == (12, 40)
    assert [one["port"] for one in mine["sessions"]] == [8001]
    # Whatever he asks for.
    assert bob.get("/api/user/usage?user_id=2&user=ann").get_json()["sessions"] == []
    assert "40 prompts" in ann.get("/").text
    assert "40 prompts" not in bob.get("/").text
    for path in ("/api/admin/usage", "/api/admin/usage.csv?by=session"):
        assert bob.get(path).status_code == 403


def rows(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:])))


def test_the_totals_as_csv(site: Site) -> None:
    answer = site.visitor("admin").get("/api/admin/usage.csv?period=30d&by=user")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == (
        'attachment; filename="usage-2026-11-24-30d-user.csv"'
    )
    first, second = rows(answer.get_data(as_text=True))
    assert (first["user"], first["held_seconds"], first["share"]) == ("ann", "25200", "75")
    assert (second["share"], second["waited_median"]) == ("", "")


def test_the_sessions_as_csv(site: Site) -> None:
    site.house.lifecycle.book.sessions.append(replace(SESSION, username="=1+1,\n"))
    answer = site.visitor("admin").get("/api/admin/usage.csv?by=session&period=all")
    first, lasting, hostile = rows(answer.get_data(as_text=True))
    assert list(first) == [
        *("username", "port", "card", "started_at", "ended_at", "end_reason", "waited_seconds"),
        *("held_seconds", "worked_seconds", "idle_seconds", "unknown_seconds", "prompts"),
    ]
    assert first["started_at"] == "2026-09-21T22:13:20+08:00"
    assert (lasting["ended_at"], lasting["end_reason"], lasting["waited_seconds"]) == ("", "", "")
    # No cell is a formula for a spreadsheet.
    assert hostile["username"] == "'=1+1,\n"
    assert site.house.lifecycle.book.asked[-1] == ("0001-01-01", usage.MOST_IN_CSV)


def test_nothing_is_an_empty_file(site: Site) -> None:
    site.house.lifecycle.book.sessions = []
    answer = site.visitor("admin").get("/api/admin/usage.csv?by=session")
    assert answer.get_data(as_text=True) == "\ufeff"


def test_the_admins_page_is_complete_without_a_script(site: Site) -> None:
    page = site.visitor("admin").get("/admin?period=30d&by=card").text
    panel = page.split('id="usage"')[1].split("</section>")[0]
    assert '<option value="30d" selected>' in panel
    assert "75 %" in panel
    assert "idle limit" in panel
    assert "goes on" in panel
    assert "period=30d&amp;by=card" in panel
    site.house.lifecycle.book.all.clear()
    panel = site.visitor("admin").get("/admin").text.split('id="usage"')[1]
    assert '<p data-role="usage-empty" >' in panel


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1.0 h"),
        (45_359, "12.5 h"),
    ],
)
def test_durations_in_words(site: Site, seconds: float, words: str) -> None:
    with site.app.test_request_context(headers={"Accept-Language": "en"}):
        assert duration(seconds) == words


def test_each_end_has_its_words_for_admins() -> None:
    words = i18n.catalogue("en")
    ends = {key.removeprefix("user.end.") for key in words if key.startswith("user.end.")}
    own = {end for end in ends if not end.startswith(("hint.", "other"))}
    assert own == {
        key.removeprefix("admin.usage.end.")
        for key in words
        if key.startswith("admin.usage.end.") and not key.endswith(".lasts")
    }
