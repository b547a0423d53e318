"""What a user gets of his own pictures over HTTP, and what nobody gets."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.pictures import PROMPT, WORKFLOW, WORKSPACE, png, workspace
from tests.support.web import Site, Visitor

OUTPUTS = "/api/user/outputs"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    ann = site.house.ann
    site.house.accounts.all[ann.id] = dataclasses.replace(ann, workspace=WORKSPACE)
    return site


@pytest.fixture
def output(site: Site) -> Path:
    return workspace(site.house.settings.data_dir)


@pytest.fixture
def ann(site: Site) -> Visitor:
    return site.visitor("ann")


def test_pages_of_pictures(ann: Visitor, output: Path) -> None:
    for number in range(13):
        png(output / f"{number:02}.png", at=1000 + number)
    first = ann.get(OUTPUTS).json
    assert first is not None
    assert [one["name"] for one in first["pictures"]] == [f"{n:02}.png" for n in range(12, 0, -1)]
    assert (first["page"], first["pages"], first["total"], first["cut"]) == (1, 2, 13, False)
    last = ann.get(f"{OUTPUTS}?page=9").json
    assert last is not None
    assert (last["page"], [one["path"] for one in last["pictures"]]) == (2, ["00.png"])
    for bad in ("0", "-1", "x", "", "١"):
        assert ann.get(f"{OUTPUTS}?page={bad}").status_code == 400


def test_a_picture_is_shown_and_cannot_run_anything(ann: Visitor, output: Path) -> None:
    png(output / "a" / "x.png")
    answer = ann.get(f"{OUTPUTS}/file?path=a/x.png&v=1")
    assert answer.data == (output / "a" / "x.png").read_bytes()
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Length"] == str(len(answer.data))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert answer.headers["Content-Security-Policy"].endswith("; sandbox")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["Content-Disposition"].startswith("inline;")
    fresh = ann.get(f"{OUTPUTS}/file?path=a/x.png")
    assert fresh.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("what", ["thumbnail", "file"])
def test_what_a_browser_has_is_asked_for_and_costs_no_body(
    ann: Visitor, output: Path, what: str
) -> None:
    png(output / "x.png")
    address = f"{OUTPUTS}/{what}?path=x.png&v=1"
    first = ann.get(address)
    tag = first.headers["ETag"]
    again = ann.get(address, **{"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == tag
    assert again.headers["Cache-Control"] == "private, no-cache"
    other = "file" if what == "thumbnail" else "thumbnail"
    mixed = ann.get(f"{OUTPUTS}/{other}?path=x.png&v=1", **{"If-None-Match": tag})
    assert mixed.status_code == 200
    png(output / "x.png", size=(32, 32), at=1000)
    assert ann.get(address, **{"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("what", ["thumbnail", "file"])
def test_what_the_last_user_had_is_not_good_for_the_next(
    site: Site, ann: Visitor, output: Path, what: str
) -> None:
    """The same file under the same path, to the last bit: it is another one all the same."""
    png(output / "x.png")
    bobs = workspace(site.house.settings.data_dir, "8-bob-0123abcd")
    os.link(output / "x.png", bobs / "y.png")
    bob = site.house.bob
    site.house.accounts.all[bob.id] = dataclasses.replace(bob, workspace="8-bob-0123abcd")
    tag = ann.get(f"{OUTPUTS}/{what}?path=x.png&v=1").headers.get("ETag", "none")
    (bobs / "y.png").unlink()
    (output / "x.png").rename(bobs / "x.png")
    answer = site.visitor("bob").get(f"{OUTPUTS}/{what}?path=x.png&v=1", **{"If-None-Match": tag})
    assert answer.status_code == 200


def test_a_deleted_picture_takes_its_small_one_along(
    site: Site, ann: Visitor, output: Path
) -> None:
    png(output / "x.png")
    kept = site.house.settings.data_dir / "thumbnails"
    small = ann.get(f"{OUTPUTS}/thumbnail?path=x.png&v=1").data
    assert len(list(kept.iterdir())) == 1
    gone = ann.send("DELETE", f"{OUTPUTS}?path=x.png").json
    assert list(kept.iterdir()) == []
    assert ann.post(f"{OUTPUTS}/restore", json=gone).status_code == 200
    assert ann.get(f"{OUTPUTS}/thumbnail?path=x.png&v=1").data == small


@pytest.mark.parametrize(
    ("name", "query"), [("x.png", "&download=1"), ("x.webm", ""), ("x.mp4", "&v=1")]
)
def test_downloads(ann: Visitor, output: Path, name: str, query: str) -> None:
    (output / name).write_bytes(b"<html>")
    answer = ann.get(f"{OUTPUTS}/file?path={name}{query}")
    assert answer.headers["Content-Disposition"].startswith(f'attachment; filename="{name}"')


def test_a_name_is_no_part_of_a_header(ann: Visitor, output: Path) -> None:
    name = '图"; x=%41.png'
    png(output / name)
    answer = ann.get(f"{OUTPUTS}/file?path={quote(name)}")
    assert answer.headers["Content-Disposition"] == (
        "inline; filename=\"__; x=_41.png\"; filename*=UTF-8''" + quote(name, safe="")
    )


def test_the_workflow_to_look_at_and_to_take_away(ann: Visitor, output: Path) -> None:
    png(output / "x.png")
    (output / "plain.jpg").write_bytes(b"x")
    assert ann.get(f"{OUTPUTS}/workflow?path=x.png").json == {
        "workflow": WORKFLOW,
        "prompt": PROMPT,
    }
    taken = ann.get(f"{OUTPUTS}/workflow?path=x.png&download=workflow")
    assert json.loads(taken.data) == json.loads(WORKFLOW)
    assert 'filename="x.png.workflow.json"' in taken.headers["Content-Disposition"]
    assert ann.get(f"{OUTPUTS}/workflow?path=x.png&download=other").status_code == 404
    nothing = {"workflow": None, "prompt": None}
    assert ann.get(f"{OUTPUTS}/workflow?path=plain.jpg").json == nothing


def test_delete_and_undo(ann: Visitor, output: Path) -> None:
    png(output / "x.png")
    gone = ann.send("DELETE", f"{OUTPUTS}?path=x.png").json
    assert gone is not None
    assert not (output / "x.png").exists()
    back = ann.post(f"{OUTPUTS}/restore", json=gone)
    assert back.status_code == 200
    assert (output / "x.png").exists()
    assert ann.post(f"{OUTPUTS}/restore", json=gone).status_code == 404
    assert ann.post(f"{OUTPUTS}/restore", json={"path": "x.png"}).status_code == 400


def test_changes_come_from_our_own_page_only(ann: Visitor, output: Path) -> None:
    png(output / "x.png")
    for refused in (
        ann.send("DELETE", f"{OUTPUTS}?path=x.png", origin="http://manager.test:9081"),
        ann.send("DELETE", f"{OUTPUTS}?path=x.png", csrf=False),
    ):
        assert refused.status_code in {400, 403}
    assert (output / "x.png").exists()


def test_everybody_sees_his_own_only(site: Site, output: Path) -> None:
    png(output / "x.png")
    asked = ("file", "thumbnail", "workflow")
    for name in ("bob", "admin"):
        other = site.visitor(name)
        assert other.get(OUTPUTS).json["total"] == 0  # type: ignore[index]
        for what in asked:
            assert other.get(f"{OUTPUTS}/{what}?path=x.png").status_code == 404
        assert other.send("DELETE", f"{OUTPUTS}?path=x.png").status_code == 404
        assert "x.png" not in other.get("/").text
    stranger = site.visitor()
    assert stranger.get(OUTPUTS).status_code == 401
    for what in asked:
        assert stranger.get(f"{OUTPUTS}/{what}?path=x.png").status_code == 401
    assert (output / "x.png").exists()


def test_first_paint_holds_the_pictures(ann: Visitor, output: Path) -> None:
    page = ann.get("/").text
    assert "Nothing here yet." in page
    png(output / "x&y.png")
    page = ann.get("/").text
    assert "/api/user/outputs/thumbnail?path=x%26y.png&amp;v=" in page
    assert 'aria-label="Show x&amp;y.png"' in page
