"""Lines of the log, and the number of the request that they were written for."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest
from flask import g

from manager import log_lines
from manager.web.request_id import RequestIds
from tests.support.web import Site


def record(message: str, *args: object, number: str = "") -> logging.LogRecord:
    made = logging.LogRecord("manager.x", logging.WARNING, "p", 1, message, args, None)
    made.request_id = number
    return made


def test_a_json_line_is_one_line_with_what_is_known() -> None:
    line = log_lines.formatter("json").format(record("端口 %d: two\nlines", 8001, number="abc"))
    assert "\n" not in line
    assert "端口 8001" in line
    told = json.loads(line)
    assert told["at"].endswith("+00:00")
    del told["at"]
    assert told == {
        "level": "WARNING",
        "logger": "manager.x",
        "message": "端口 8001: two\nlines",
        "port": 8001,
        "request_id": "abc",
    }


def test_a_traceback_is_part_of_its_json_line() -> None:
    try:
        int("no good")
    except ValueError:
        made = logging.LogRecord("m", logging.ERROR, "p", 1, "x", (), sys.exc_info())
    told = json.loads(log_lines.formatter("json").format(made))
    assert "ValueError: invalid literal" in told["exception"]


def test_a_text_line_is_as_ever_and_names_the_request() -> None:
    plain = log_lines.formatter("text").format(record("端口 8001: x"))
    assert plain.endswith(" WARNING manager.x: 端口 8001: x")
    numbered = log_lines.formatter("text").format(record("x", number="abc"))
    assert numbered.endswith("manager.x: x [request abc]")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "with space 123", "line\tbreak-123"])
def test_every_answer_has_a_number_of_our_own(site: Site, given: str) -> None:
    headers = {"X-Request-Id": given} if given else {}
    number = site.visitor().get("/login", **headers).headers["X-Request-Id"]
    assert len(number) == 16
    assert number != given


def test_the_number_of_a_proxy_in_front_is_kept(site: Site) -> None:
    given = "0b0e-from-a-proxy"
    assert site.visitor().get("/login", **{"X-Request-Id": given}).headers["X-Request-Id"] == given


def test_a_record_has_the_number_of_its_request_and_else_none(site: Site) -> None:
    seen = logging.LogRecord("m", logging.INFO, "p", 1, "x", (), None)
    RequestIds().filter(seen)
    assert vars(seen)["request_id"] == ""
    with site.app.test_request_context():
        g.request_id = "abc"
        RequestIds().filter(seen)
    assert vars(seen)["request_id"] == "abc"
