"""The doctor's checks one by one, and that each line it can say has its words."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from manager import settings as settings_module
from manager.cards import sampler
from manager.cards.reading import Reading, Unreadable
from manager.cards.tool import Run
from manager.doctor import https, machine, places, programs
from manager.doctor.finding import OK, PROBLEM, WARNING, Finding, worst
from manager.launcher import groups
from manager.records import AuditEntry
from manager.settings import ROOT, Settings
from manager.store import Store
from manager.web import i18n
from manager.web.doctor import EXTENSION, Result
from tests.support.tls import make_pair
from tests.support.web import Site


@pytest.fixture
def in_force(tmp_path: Path) -> Settings:
    return make(tmp_path)


def make(folder: Path, **environ: str) -> Settings:
    return settings_module.load({"COMFYUI_PATH": str(folder), **environ}, root=folder)


def said(printed: str) -> Run:
    return lambda _command: printed


def refuses(_command: Sequence[str]) -> str:
    raise Unreadable("it says no")


def cases(findings: object) -> list[tuple[str, str]]:
    assert not isinstance(findings, Finding)
    return [(one.level, one.case) for one in findings]  # type: ignore[attr-defined]


def test_every_line_has_its_words_in_both_languages() -> None:
    made = set()
    for path in (ROOT / "manager" / "doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                check = node.args[0]
                assert isinstance(check, ast.Constant)
                made.add(str(check.value))
                words = [
                    one.value for one in ast.walk(node.args[2]) if isinstance(one, ast.Constant)
                ]
                for case in map(str, words):
                    assert f"doctor.{check.value!s}.{case}" in i18n.catalogue("en"), case
    assert {f"doctor.check.{check}" for check in made} <= set(i18n.catalogue("zh_CN"))
    keys = {key.split(".")[1] for key in i18n.catalogue("en") if key.startswith("doctor.")}
    assert keys - {"level", "worst", "check"} == made


def test_the_worst_counts() -> None:
    findings = [Finding("disk", WARNING, "little"), Finding("python", OK, "ok")]
    assert worst([]) == OK
    assert worst(findings) == WARNING
    assert worst([*findings, Finding("caddy", PROBLEM, "missing")]) == PROBLEM


def test_no_comfyui_is_a_warning_and_asks_no_python(in_force: Settings) -> None:
    assert cases(programs.comfyui(in_force, refuses)) == [(WARNING, "demo")]


@pytest.fixture
def with_comfyui(tmp_path: Path) -> Settings:
    (tmp_path / "main.py").touch()
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.3.9"\n')
    return make(tmp_path, CARD_KIND="cuda")


def test_comfyui_s_version_and_python_are_told(with_comfyui: Settings) -> None:
    run = said('a warning\n{"torch": "2.9.0", "count": 4}\n')
    version, python = programs.comfyui(with_comfyui, run)
    assert version.params["version"] == "0.3.9"
    assert (python.level, python.params["torch"], python.params["count"]) == (OK, "2.9.0", 4)


@pytest.mark.parametrize("printed", ["", "nonsense", '{"torch": "2"}'])
def test_what_a_python_says_wrongly_is_no_torch(with_comfyui: Settings, printed: str) -> None:
    found = list(programs.comfyui(with_comfyui, said(printed)))
    assert cases(found)[1] == (PROBLEM, "no_torch")


def test_a_python_without_torch_and_one_without_cards(with_comfyui: Settings) -> None:
    assert cases(programs.comfyui(with_comfyui, refuses))[1] == (PROBLEM, "no_torch")
    blind = said(json.dumps({"torch": "2.9.0+cpu", "count": 0}))
    assert cases(programs.comfyui(with_comfyui, blind))[1] == (PROBLEM, "no_cards")


def test_a_card_that_is_not_shown_or_not_well_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [Reading(0, health="OK"), Reading(1, health="Alarm")]
    monkeypatch.setitem(sampler.READERS, "ascend", lambda _run: seen)
    table = "8001:9001:9081:1,8002:9002:9082:2,8003:9003:9083:3"
    unwell, missing = programs.card_tool(make(tmp_path, CARD_KIND="ascend", PORTS=table), refuses)
    assert (unwell.level, unwell.case, unwell.params["card"]) == (WARNING, "unwell", 2)
    assert (missing.level, missing.case, missing.params["card"]) == (PROBLEM, "missing", 3)
    assert missing.params["shown"] == "0, 1"


def test_a_tool_that_says_nothing_is_a_problem(tmp_path: Path) -> None:
    in_force = make(tmp_path, CARD_KIND="cuda")
    (found,) = programs.card_tool(in_force, refuses)
    assert (found.level, found.params["reason"]) == (PROBLEM, "it says no")


def test_cpu_as_set_is_in_order(tmp_path: Path) -> None:
    assert cases(programs.card_tool(make(tmp_path, CARD_KIND="cpu"), refuses)) == [(OK, "cpu")]


def test_a_file_that_others_can_read_is_named(in_force: Settings) -> None:
    in_force.data_dir.mkdir(mode=0o700)
    key = in_force.data_dir / "secret_key"
    key.touch(mode=0o600)
    assert cases(places.folders(in_force)) == [(OK, "ok")]
    key.chmod(0o644)
    (found,) = places.folders(in_force)
    assert (found.level, found.params["path"], found.params["wanted"]) == (
        WARNING,
        str(key),
        "600",
    )


def test_a_folder_that_cannot_be_written_is_named(
    in_force: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_args, **_more: False)
    assert set(cases(places.folders(in_force))) == {(PROBLEM, "unwritable")}


@pytest.mark.parametrize(
    ("free", "told"), [(1 << 20, (PROBLEM, "little")), (5 << 30, (WARNING, "little"))]
)
def test_little_room_is_said(
    in_force: Settings, monkeypatch: pytest.MonkeyPatch, free: int, told: tuple[str, str]
) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    assert cases(places.disk(in_force)) == [told]


def test_a_database_is_read_whole(in_force: Settings) -> None:
    assert cases(places.database(in_force)) == [(OK, "none")]
    store = Store(in_force.database_path, 1)
    assert cases(places.database(in_force)) == [(OK, "ok")]
    store.close()
    connection = sqlite3.connect(in_force.database_path, isolation_level=None)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for schema, told in ((version + 1, (PROBLEM, "newer")), (version - 1, (OK, "older"))):
        connection.execute(f"PRAGMA user_version = {schema}")
        assert cases(places.database(in_force)) == [told]
    connection.close()
    content = bytearray(in_force.database_path.read_bytes())
    content[4096 * 3 : 4096 * 6] = b"\xff" * 4096 * 3
    in_force.database_path.write_bytes(content)
    assert cases(places.database(in_force)) == [(PROBLEM, "damaged")]
    in_force.database_path.write_text("no database at all" * 100)
    assert cases(places.database(in_force)) == [(PROBLEM, "damaged")]


def test_an_audit_from_the_future_is_a_clock_set_back(in_force: Settings) -> None:
    store = Store(in_force.database_path, 1)
    assert cases(places.clock(in_force))[0][0] == OK
    store.write(lambda t: t.audit.add(AuditEntry(time.time() + 7200, "a", "b", "c")))
    (found,) = places.clock(in_force)
    store.close()
    assert (found.level, found.case, found.params["minutes"]) == (WARNING, "back", 120)


@pytest.mark.parametrize(
    ("line", "root", "told"),
    [
        ("isolation: sandbox with Landlock 7", True, (OK, "ok")),
        ("isolation: directories (user: …)", True, (PROBLEM, "root")),
        ("isolation: directories (user: …)", False, (WARNING, "directories")),
        ("nothing of the kind", False, (OK, "unknown")),
    ],
)
def test_the_level_is_that_of_the_last_start(
    in_force: Settings,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    root: bool,
    told: tuple[str, str],
) -> None:
    monkeypatch.setattr(groups, "find", groups.Groups)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    in_force.log_path.write_text(
        f"… isolation: user\n… {line}\n".replace("… isolation: user\n", "")
    )
    assert cases(machine.isolation(in_force))[0] == told


def test_the_page_shows_what_was_found_last_and_examines_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    doctor = site.app.extensions[EXTENSION]
    found = Finding("disk", PROBLEM, "little", {"free": "0.5", "path": "/x<y>"})
    doctor._result = Result(at=5.0, level=PROBLEM, findings=(found,))
    page = site.visitor("admin").get("/admin").text
    assert 'data-finding="disk" data-level="problem"' in page
    assert "only 0.5 GiB free at /x&lt;y&gt;" in page
    assert "There are problems" in page
    told = site.visitor("admin", **{"Accept-Language": "zh"}).get("/api/admin/doctor").get_json()
    assert re.match("/x<y> 只剩 0.5 GiB", told["findings"][0]["text"])


def test_only_admins_may_examine(tmp_path: Path) -> None:
    site = Site(tmp_path)
    ann = site.visitor("ann")
    assert ann.get("/api/admin/doctor").status_code == 403
    assert ann.post("/api/admin/doctor").status_code == 403
    assert ann.post("/admin/doctor").status_code == 403
    assert not site.app.extensions[EXTENSION].result().running


def test_https_is_off_in_front_or_not_made_yet(tmp_path: Path) -> None:
    for environ, case in (
        ({}, "off"),
        ({"COOKIE_SECURE": "true"}, "in_front"),
        ({"TLS": "internal"}, "not_made"),
    ):
        assert cases(https.https(make(tmp_path, **environ), running=False)) == [(OK, case)]


def test_a_certificate_is_told_with_its_end_its_names_and_who_can_read_its_key(
    tmp_path: Path,
) -> None:
    cert, key = make_pair(tmp_path / "tls", names="DNS:*.lab,IP:192.0.2.7")
    files = {"TLS": "files", "TLS_CERT": str(cert), "TLS_KEY": str(key)}
    (found,) = https.https(make(tmp_path, **files, EXTERNAL_IP="gpu.lab"), running=False)
    assert (found.level, found.case, found.params["names"]) == (OK, "ok", "*.lab, 192.0.2.7")
    other = https.https(make(tmp_path, **files, EXTERNAL_IP="gpu.other"), running=False)
    assert cases(other) == [(OK, "ok"), (WARNING, "other_name")]
    key.chmod(0o640)
    (_, opened) = https.https(make(tmp_path, **files), running=False)
    assert (opened.level, opened.case, opened.params["mode"]) == (WARNING, "key_open", "640")
    for days, level in ((20, (WARNING, "soon")), (22, (OK, "ok")), (-1, (PROBLEM, "unusable"))):
        make_pair(tmp_path / "tls", days=days)
        assert cases(https.https(make(tmp_path, **files), running=False)) == [level]
