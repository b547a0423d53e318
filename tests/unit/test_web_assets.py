"""Static files: a new address for a new content, compressed, kept."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from manager.web import assets
from tests.support.web import Site


def test_another_content_has_another_address(tmp_path: Path) -> None:
    def named(**files: str) -> str:
        folder = tmp_path / "-".join(f"{name}={text}" for name, text in files.items())
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        return assets.version(folder)

    names = [named(a="x"), named(a="y"), named(b="x"), named(a="x", b=""), named(a="", b="x")]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[0-9a-f]{12}", name) for name in names)


def test_every_file_of_a_page_has_the_versioned_address(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for visitor, path in ((site.visitor(), "/login"), (site.visitor("admin"), "/admin")):
        found = re.findall(r'(?:src|href)="(/static/[^"#]+)', visitor.get(path).text)
        assert found
        assert all(one.startswith(f"{assets.address()}/") for one in found)
        assert {visitor.get(one).status_code for one in set(found)} == {200}


@pytest.mark.parametrize("path", ["/", "/admin", "/account", "/admin/audit", "/password"])
def test_a_page_takes_one_file_of_styles_and_one_of_scripts(tmp_path: Path, path: str) -> None:
    page = Site(tmp_path).visitor("admin").get(path).text
    assert re.findall(r'<link rel="stylesheet" href="[^"]*/([^"/]+)"', page) == ["all.css"]
    assert len(re.findall(r"<script (?![^>]*application/json)", page)) <= 1


@pytest.mark.parametrize(
    "file", ["css/all.css", "js/pages/user.js", "js/lib/dom.js", "favicon.svg"]
)
@pytest.mark.parametrize(("asked", "got"), [("gzip, deflate", "gzip"), ("gzip, br", "br")])
def test_texts_are_sent_compressed(tmp_path: Path, file: str, asked: str, got: str) -> None:
    visitor = Site(tmp_path).visitor()
    path = f"{assets.address()}/{file}"
    made = assets.made().get(file)
    plain = made.encode() if made else (assets.FOLDER / file).read_bytes()
    answer = visitor.get(path, **{"Accept-Encoding": asked})
    if len(plain) < 1024:
        assert "Content-Encoding" not in answer.headers
        return
    assert answer.headers["Content-Encoding"] == got
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert len(answer.data) < len(plain) / 2
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    if got == "gzip":
        assert gzip.decompress(answer.data) == plain
    same = {"Accept-Encoding": asked, "If-None-Match": answer.headers["ETag"]}
    again = visitor.get(path, **same)
    assert again.status_code == 304
    assert again.headers["Cache-Control"] == assets.KEEP
    assert visitor.get(path).data == plain


def test_pages_are_compressed(tmp_path: Path) -> None:
    visitor = Site(tmp_path).visitor("admin")
    page = visitor.get("/admin", **{"Accept-Encoding": "gzip"})
    assert page.headers["Content-Encoding"] == "gzip"
    assert b"<!doctype html>" in gzip.decompress(page.data)[:40]
