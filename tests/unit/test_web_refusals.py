"""Refused requests in the log: one line each, bounded, and nothing in it that a visitor wrote."""

from __future__ import annotations

import configparser
import logging
import re
from pathlib import Path

import pytest

from manager import log_lines
from manager.settings import ROOT
from manager.web import refusals
from tests.support.web import Site

FILTERS = ROOT / "deploy" / "fail2ban" / "filter.d"
DATE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "manager.web.refusals"]


def rule(name: str) -> re.Pattern[str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(FILTERS / name, encoding="utf-8")
    return re.compile(parser["Definition"]["failregex"].replace("<HOST>", r"(?P<host>[0-9a-f.:]+)"))


def test_each_kind_is_one_line(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    ann = site.visitor("ann")
    ann.send("POST", "/api/user/start", origin="http://evil.test")
    ann.send("POST", "/api/user/start", csrf=False)
    ann.get("/api/admin/overview")
    token = site.house.api_tokens.add(site.house.ann, "read")
    script = site.visitor(None, Authorization=f"Bearer {token}")
    script.client.post(
        "/api/user/start", base_url="http://manager.test:8880", headers=script.headers
    )
    assert lines(caplog) == [
        "request refused from 127.0.0.1 (origin): user nobody at POST api.start",
        "request refused from 127.0.0.1 (form token): user 2 at POST api.start",
        "request refused from 127.0.0.1 (right): user 2 at GET admin_api.overview",
        "request refused from 127.0.0.1 (token): user 2 at POST api.start",
    ]
    ann.get("/api/user/state")
    site.visitor().get("/api/user/state")
    assert len(lines(caplog)) == 4, "what is answered, or asks for a login, is none"


def test_nothing_that_a_visitor_writes_is_in_it(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = site.visitor(**{"User-Agent": "x\ny", "X-Forwarded-For": "9.9.9.9"})
    for method, path in (
        ("POST", "/api/%0a2026-11-28 00:00:00,000 WARNING refused from 9.9.9.9 (origin)"),
        ("BREW", "/login?from=9.9.9.9"),
        ("POST", "/static/9.9.9.9"),
    ):
        stranger.client.open(path, method=method, base_url="http://manager.test:8880")
    written = lines(caplog)
    assert len(written) == 3
    for one in written:
        assert "9.9.9.9" not in one
        assert one.isprintable()
        assert "BREW" not in one


def test_fail2ban_finds_the_address_and_in_no_other_line(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    ann = site.visitor("ann")
    ann.send("POST", "/api/user/start", origin="http://evil.test")
    ann.send("POST", "/api/user/start", csrf=False)
    ann.get("/admin")
    formatter, found = log_lines.formatter("text"), rule("comfyui-manager-requests.conf")
    read = []
    for record in caplog.records:
        record.request_id = "0123abcd"
        line = formatter.format(record)
        assert DATE.match(line)
        match = found.search(DATE.sub("", line))
        read += [match["host"]] if match else []
    assert read == ["127.0.0.1"] * 3


def test_the_filter_of_logins_knows_the_first_password() -> None:
    line = " WARNING manager.first_admin: login refused from 192.0.2.1 (first password)"
    found = rule("comfyui-manager.conf").search(line)
    assert found
    assert found["host"] == "192.0.2.1"


def test_they_are_bounded_and_the_rest_is_counted(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    site.app.extensions[refusals.EXTENSION] = refusals.Refusals(lambda: now)
    many = refusals.MOST_OF_ONE + 5

    def knock(address: str) -> None:
        site.app.test_client().post(
            "/login", base_url="http://manager.test", environ_base={"REMOTE_ADDR": address}
        )

    for _ in range(many):
        knock("192.0.2.1")
    assert len(lines(caplog)) == refusals.MOST_OF_ONE
    for number in range(refusals.MOST):
        knock(f"198.51.100.{number}")
    assert len(lines(caplog)) == refusals.MOST
    now += refusals.WINDOW_S
    knock("192.0.2.1")
    left_out = many + refusals.MOST - refusals.MOST
    assert lines(caplog)[-2:] == [
        f"{left_out} more requests were refused in the minute before",
        "request refused from 192.0.2.1 (origin): user nobody at POST pages.login",
    ]
    assert all(record.levelno == logging.WARNING for record in caplog.records)
