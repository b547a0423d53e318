"""The audit's page, files and API: what is asked for, and how it is shown."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from manager.audit_records import AuditCheck, AuditLine
from manager.records import AuditEntry
from manager.web.audit import SHOWN
from tests.support.web import NOW, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.house.audit.lines = [
        AuditLine(
            n, AuditEntry(NOW + n, "admin", "login", f"=user{n}", "<b>", "192.0.2.7"), "a" * 64
        )
        for n in range(SHOWN + 10, 0, -1)
    ]
    site.house.audit.check = AuditCheck(SHOWN + 10, "f" * 64, None)
    return site


def test_the_page_shows_lines_and_leads_to_older_ones(site: Site) -> None:
    admin = site.visitor("admin")
    page = admin.get("/admin/audit?actor=admin").text
    assert page.count("data-line=") == SHOWN
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert 'data-audit="whole"' in page
    assert "f" * 64 in page
    assert "actor=admin&amp;before=11" in page
    older = admin.get("/admin/audit?actor=admin&before=11").text
    assert older.count("data-line=") == 10
    assert 'rel="next"' not in older


def test_a_broken_audit_is_said_to_be(site: Site) -> None:
    site.house.audit.check = AuditCheck(7, "f" * 64, 7)
    admin = site.visitor("admin")
    page = admin.get("/admin/audit").text
    assert 'data-audit="broken"' in page
    assert "line 7 was changed or removed" in page
    assert admin.get("/api/admin/audit/check").get_json()["broken"] == 7


def test_what_is_asked_for_is_read_strictly(site: Site) -> None:
    admin = site.visitor("admin")
    site.house.audit.asked.clear()
    admin.get("/api/admin/audit?actor=a&action=b&subject=c&since=2026-11-24&until=2026-11-24")
    (wanted,) = site.house.audit.asked
    assert (wanted.actor, wanted.action, wanted.subject) == ("a", "b", "c")
    assert wanted.since is not None
    assert wanted.until is not None
    assert wanted.until - wanted.since == 86400
    for bad in (
        "since=yesterday",
        "until=9999-12-31",
        "before=-1",
        "before=x",
        "before=" + "9" * 20,
    ):
        assert admin.get(f"/api/admin/audit?{bad}").status_code == 400, bad
        assert admin.get(f"/admin/audit?{bad}").status_code == 400, bad


def test_files_hold_all_that_fits_oldest_first(site: Site) -> None:
    admin = site.visitor("admin")
    answer = admin.get("/api/admin/audit.jsonl")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["id"] for line in lines] == list(range(1, SHOWN + 11))
    assert set(lines[0]) == {"id", "at", "actor", "action", "subject", "detail", "address", "hash"}
    assert "attachment" in answer.headers["Content-Disposition"]
    table = admin.get("/api/admin/audit.csv").text
    assert table.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(table.lstrip("\ufeff"))))
    assert len(rows) == SHOWN + 10
    assert rows[0]["subject"] == "'=user1", "no formula for a spreadsheet program"
    assert admin.get("/api/admin/audit.exe").status_code == 404
