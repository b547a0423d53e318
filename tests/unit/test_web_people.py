"""Many accounts at once, in the API: a table is looked at, then made; acts on chosen users."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from manager.counts import Total
from manager.permits import UserLimits
from manager.states import State
from manager.web.people_api import MOST_BYTES, MOST_PROBLEMS, MOST_ROWS
from tests.support.people import MADE
from tests.support.web import NOW, Site, Visitor

PATH = "/api/admin/people/table"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, PORTS="8001:9001:9081:1,8002:9002:9082:2")


@pytest.fixture
def admin(site: Site) -> Visitor:
    return site.visitor("admin")


def give(admin: Visitor, table: str, *, dry_run: bool = True) -> dict[str, Any]:
    answer = admin.post(PATH, json={"table": table, "dry_run": dry_run})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_a_table_is_looked_at_and_then_made(site: Site, admin: Visitor, sign: str) -> None:
    lines = [
        "\ufeffusername,is_admin,assigned_port,is_active,password",
        "李雷,,8002,,",
        "Jürgen,yes,,no,good one 1",
    ]
    table = "\r\n".join(line.replace(",", sign) for line in lines)
    looked = give(admin, table)
    assert looked["problems"] == []
    assert looked["rows"] == [
        {
            "line": 2,
            "username": "李雷",
            "is_admin": False,
            "is_active": True,
            "assigned_port": 8002,
            "has_password": False,
        },
        {
            "line": 3,
            "username": "Jürgen",
            "is_admin": True,
            "is_active": False,
            "assigned_port": None,
            "has_password": True,
        },
    ]
    assert "good one 1" not in str(looked)
    assert len(site.house.accounts.all) == 4, "it was only looked at"
    made = give(admin, table, dry_run=False)["made"]
    # A password that stood in the table is not said again.
    assert made == [
        {"username": "李雷", "password": MADE},
        {"username": "Jürgen", "password": None},
    ]
    assert site.house.accounts.all[5].must_change_password


def test_every_wrong_line_is_named_in_the_reader_s_language(site: Site, admin: Visitor) -> None:
    table = (
        "username,is_admin,assigned_port,password\n"
        ".bad,,,\n=cmd(),,,\nann,,,\nANN2,,99,\nkim,maybe,,\nlee,,port,\nlee2,,,short\nx,,\nkim2,,,\nKIM2,,,\n"
    )
    problems = give(admin, table)["problems"]
    assert [one["line"] for one in problems] == [2, 3, 4, 5, 6, 7, 8, 9, 11]
    texts = {one["line"]: one["text"] for one in problems}
    assert texts[4] == "ann has an account already."
    assert texts[6] == "is_admin is true or false, not maybe."
    assert texts[11] == "KIM2 stands in line 10 already."
    chinese = site.visitor("admin", **{"Accept-Language": "zh-CN"})
    assert give(chinese, table)["problems"][2]["text"] == "ann 已有账号。"
    answer = admin.post(PATH, json={"table": table, "dry_run": False})
    assert (answer.status_code, answer.get_json()["error"]["key"]) == (400, "bad_input.table")
    assert len(site.house.accounts.all) == 4


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "The first line names the columns"),
        ("name\nann\n", "The first line names the columns"),
        ("username\n", "There is nobody in it."),
        ('username\n"ann', "This is not CSV"),
        ("username\nann\x00\n", ""),
    ],
)
def test_what_is_no_table_is_said(admin: Visitor, table: str, said: str) -> None:
    (problem,) = give(admin, table)["problems"]
    assert problem["text"].startswith(said)


def test_a_table_may_be_large_but_not_too_large(admin: Visitor) -> None:
    rows = "".join(f"用户{number:04}\n" for number in range(500))
    assert len(give(admin, "username\n" + rows)["rows"]) == 500
    answer = admin.post(PATH, json={"table": "x" * MOST_BYTES, "dry_run": True})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (413, "too_large")
    # The larger body is for the table alone.
    other = admin.post("/api/admin/users", json={"username": "x" * 100_000, "password": "y"})
    assert other.status_code == 413
    rows = "".join(f"user{number}\n" for number in range(MOST_ROWS + 1))
    (problem,) = give(admin, "username\n" + rows)["problems"]
    assert problem["line"] == MOST_ROWS + 2
    looked = give(admin, "username\n" + ".\n" * 20_000)
    assert (len(looked["problems"]), looked["problem_count"]) == (MOST_PROBLEMS, 20_000)


def test_no_password_is_in_the_log(admin: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        give(admin, "username,password\nkim,\nlee,secret of lee\n", dry_run=False)
    assert MADE not in caplog.text
    assert "secret of lee" not in caplog.text


def test_chosen_users_are_disabled_with_their_instances(site: Site, admin: Visitor) -> None:
    house = site.house
    house.lifecycle.put(8001, State.RUNNING, house.ann)
    house.lifecycle.put(8002, State.RUNNING, house.admin)
    body = {"user_ids": [2, 3], "is_active": False}
    answer = admin.send("PATCH", "/api/admin/people", json=body)
    assert [one["is_active"] for one in answer.get_json()["users"]] == [False, False]
    assert house.lifecycle.stops == [(8001, "admin", "admin")]
    back = admin.send("PATCH", "/api/admin/people", json={**body, "is_active": True})
    assert [one["is_active"] for one in back.get_json()["users"]] == [True, True]
    assert len(house.lifecycle.stops) == 1
    yourself = admin.send("PATCH", "/api/admin/people", json={**body, "user_ids": [2, 1]})
    assert yourself.status_code == 409


def test_chosen_users_get_the_same_limits(site: Site, admin: Visitor) -> None:
    body = {
        "user_ids": [2, 3, 2],
        "priority": "low",
        "sessions_at_once": None,
        "day_limit": 3600,
        "session_limit": None,
    }
    assert admin.send("PUT", "/api/admin/people/limits", json=body).status_code == 200
    assert site.house.lifecycle.limits.own == {
        number: UserLimits(number, "low", None, 3600, None) for number in (2, 3)
    }
    wrongs: list[dict[str, Any]] = [{"user_ids": []}, {"user_ids": ["2"]}, {"priority": "highest"}]
    for wrong in wrongs:
        answer = admin.send("PUT", "/api/admin/people/limits", json={**body, **wrong})
        assert answer.status_code == 400


def test_hours_and_last_logins_are_on_the_page_from_the_first(site: Site, admin: Visitor) -> None:
    site.house.accounts.people.logins[2] = NOW
    total = Total("ann", 3, 7200.0, 1.0, 1.0, 1.0, 5, 0, None)
    site.house.lifecycle.book.all["user"] = [total]
    one = next(o for o in admin.get("/api/admin/people").get_json()["people"] if o["user_id"] == 2)
    assert (one["last_login_at"], one["held_seconds"]) == (NOW, 7200)
    page = admin.get("/admin").text
    assert "2.0 h" in page
    assert "aria-sort=ascending" in page


def test_a_long_list_is_painted_in_part_and_in_an_order_people_know(
    site: Site, admin: Visitor
) -> None:
    for number in range(500):
        site.house.accounts.add(100 + number, f"Zoe{number:03}")
    site.house.accounts.add(999, "Ägir")
    page = admin.get("/admin").text
    rows = page.split('data-role="users"')[1].split("</tbody>")[0]
    assert rows.count("<tr data-user=") == 25
    assert rows.index("Ägir") < rows.index(">ann<") < rows.index("Zoe000")
    assert "1–25 of 505" in page
