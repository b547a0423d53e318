"""Every error has a number, a shape and a sentence."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import errors
from manager.settings import ROOT
from manager.web import i18n
from manager.web.errors import status_of
from tests.support.web import Site

Kind = type[errors.ManagerError]


def all_errors(kind: Kind = errors.ManagerError) -> Iterator[Kind]:
    yield kind
    for child in kind.__subclasses__():
        yield from all_errors(child)


EVERY = [kind for kind in all_errors() if kind.__module__ == "manager.errors"]


def make(kind: Kind) -> errors.ManagerError:
    if issubclass(kind, errors.TooManyAttempts):
        return kind("inner words", retry_after=9)
    if issubclass(kind, errors.CodeRequired):
        return kind("inner words", ticket="inner words")
    return kind("inner words")


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_each_error_is_answered_in_the_shape(tmp_path: Path, kind: Kind, language: str) -> None:
    site = Site(tmp_path)

    @site.app.get("/api/boom")
    def boom() -> str:
        raise make(kind)

    answer = site.visitor("ann", **{"Accept-Language": language}).get("/api/boom")
    status = status_of(kind)
    assert answer.status_code == status
    error = answer.get_json()["error"]
    assert error["code"] == kind.code
    assert "inner words" not in error["message"]
    assert "{" not in error["message"]
    assert (status == 500) is not issubclass(kind, errors.Refused)
    if issubclass(kind, errors.TooManyAttempts):
        assert answer.headers["Retry-After"] == "9"


@pytest.mark.parametrize("path", ["/api/boom", "/boom"])
def test_a_fault_says_only_a_number_that_the_log_has_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    site = Site(tmp_path)

    @site.app.get(path)
    def boom() -> str:
        raise errors.StoreFailed("disk full at /secret/place")

    with caplog.at_level(logging.ERROR, "manager.web.errors"):
        answer = site.visitor("ann").get(path)
    assert "secret" not in answer.text
    # The log may be on the same full disk: the person is told what it may be.
    assert "the disk may be full" in answer.text
    number = caplog.records[-1].args[0]  # type: ignore[index]
    assert str(number) in answer.text
    assert "disk full" in caplog.text


def test_no_visitor_writes_a_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path)

    @site.app.get("/boom/<path:more>")
    def boom(more: str) -> str:
        raise errors.StoreFailed(f"{len(more)} is too long")

    with caplog.at_level(logging.ERROR, "manager.web.errors"):
        site.visitor("ann").get("/boom/%0Alogin%20refused%20from%20192.0.2.1%20(wrong)/%E5%9B%BE")
    message = caplog.messages[-1]
    assert "\n" not in message
    assert "(wrong)/图" in message


def test_a_bug_is_a_fault_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    site = Site(tmp_path)

    @site.app.get("/api/bug")
    def bug() -> str:
        words: dict[str, str] = {}
        return words["missing"]

    answer = site.visitor("ann").get("/api/bug")
    assert answer.status_code == 500
    assert answer.get_json()["error"]["code"] == "fault"
    assert "missing" not in answer.text
    assert "KeyError" in caplog.text


def raised_keys() -> set[str]:
    """Find each ``SomeError(..., reason="x")`` in the code."""
    codes = {kind.__name__: kind.code for kind in EVERY}
    keys = set()
    for path in (ROOT / "manager").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            for keyword in node.keywords:
                if keyword.arg == "reason" and node.func.id in codes:
                    reason = ast.literal_eval(keyword.value)
                    keys.add(f"error.{codes[node.func.id]}.{reason}")
    return keys


def test_each_reason_given_in_the_code_has_its_sentence() -> None:
    assert raised_keys() <= set(i18n.catalogue("en"))


def test_each_kind_has_its_sentence() -> None:
    wanted = {f"error.{kind.code}" for kind in EVERY}
    assert wanted <= set(i18n.catalogue("en"))


def test_a_sentence_without_its_details_is_passed_over() -> None:
    bare = errors.BadInput("short", reason="password")
    assert i18n.error_text(bare, "en") == "The request could not be understood."
