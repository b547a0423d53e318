"""A user's folder as it may be: full, deep, and full of traps."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from manager.errors import Conflict, NotFound
from manager.gallery import Gallery, scan, trash, workflow
from manager.gallery.folder import Folder
from tests.support.pictures import PROMPT, WORKFLOW, WORKSPACE, chunk, png, workspace

SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return workspace(tmp_path)


@pytest.fixture
def gallery(tmp_path: Path, output: Path) -> Gallery:
    return Gallery(tmp_path)


def paths(gallery: Gallery) -> list[str]:
    return [one.path for one in gallery.listing(WORKSPACE).pictures]


def test_newest_first_from_all_folders(gallery: Gallery, output: Path) -> None:
    png(output / "old.png", 100)
    png(output / "a" / "b" / "new.PNG", 300)
    png(output / "中 文.jpg", 200)
    (output / "film.webm").write_bytes(b"x")
    os.utime(output / "film.webm", (50, 50))
    assert paths(gallery) == ["a/b/new.PNG", "中 文.jpg", "old.png", "film.webm"]
    assert [one.is_video for one in gallery.listing(WORKSPACE).pictures] == [False] * 3 + [True]


def test_nobody_who_never_started_has_pictures(gallery: Gallery) -> None:
    assert gallery.listing(None) == scan.NOTHING
    assert gallery.listing("8-bob-0123abcd") == scan.NOTHING
    with pytest.raises(NotFound):
        gallery.open(None, "a.png")


def test_what_no_page_shows_is_not_there(gallery: Gallery, output: Path) -> None:
    for name in (".hidden.png", "page.svg", "page.html", "notes.txt", "png", "new\nline.png"):
        (output / name).write_bytes(b"x")
        with pytest.raises(NotFound):
            gallery.open(WORKSPACE, name)
    deep = output / "1" / "2" / "3" / "4" / "5" / "6"
    png(deep / "too deep.png")
    assert paths(gallery) == []


def test_a_folder_that_is_too_full_is_cut(
    gallery: Gallery, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "MOST_ENTRIES", 5)
    for number in range(5):
        (output / f"{number}.png").touch()
    assert not gallery.listing(WORKSPACE).cut
    (output / "6.txt").touch()
    listing = gallery.listing(WORKSPACE)
    assert listing.cut
    assert 4 <= len(listing.pictures) <= 5


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "..", "../x.png", "a/../x.png", "/etc/passwd.png", "a//x.png", "./x.png"),
        *("x\0.png", "x.png/", "a/b/c/d/e/f/x.png", "../../../secret.png"),
    ],
)
def test_no_path_leads_out(gallery: Gallery, output: Path, tmp_path: Path, path: str) -> None:
    png(output / "x.png")
    png(output.parent / "x.png")
    png(tmp_path / "secret.png")
    for work in (gallery.open, gallery.workflow, gallery.thumbnail, gallery.delete):
        with pytest.raises(NotFound):
            work(WORKSPACE, path)
    with pytest.raises(NotFound):
        gallery.restore(WORKSPACE, path, "1-0123456789abcdef")


@pytest.mark.parametrize("name", ["", "..", ".", "7-ann/../8-bob-00", "/etc", "7-ann\n", "ann"])
def test_only_a_workspaces_name_opens_one(gallery: Gallery, tmp_path: Path, name: str) -> None:
    png(tmp_path / "workspaces" / "ann" / "output" / "x.png")
    png(tmp_path / "workspaces" / "output" / "x.png")
    assert gallery.listing(name) == scan.NOTHING
    with pytest.raises(NotFound):
        gallery.open(name, "x.png")


def _link(target: Path, place: Path) -> None:
    place.symlink_to(target)


def _hard_link(target: Path, place: Path) -> None:
    os.link(target, place)


def _pipe(_target: Path, place: Path) -> None:
    os.mkfifo(place)


def _socket(_target: Path, place: Path) -> None:
    # Made elsewhere: a socket's name has 108 letters at most (unix(7)), and folders here are deep.
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX) as made,
    ):
        made.bind(f"{folder}/socket")
        shutil.move(f"{folder}/socket", place)


def _folder(_target: Path, place: Path) -> None:
    place.mkdir()


TRAPS = [_link, _hard_link, _pipe, _socket, _folder]


@pytest.mark.parametrize("trap", TRAPS)
def test_only_plain_files_are_served(
    gallery: Gallery, output: Path, tmp_path: Path, trap: Callable[[Path, Path], None]
) -> None:
    secret = png(tmp_path / "secret.png")
    trap(secret, output / "x.png")
    assert paths(gallery) == []
    for work in (gallery.open, gallery.workflow, gallery.thumbnail, gallery.delete):
        with pytest.raises(NotFound):
            work(WORKSPACE, "x.png")
    assert secret.exists()


def test_a_linked_folder_is_not_entered(gallery: Gallery, output: Path, tmp_path: Path) -> None:
    png(tmp_path / "other" / "x.png")
    (output / "sub").symlink_to(tmp_path / "other")
    assert paths(gallery) == []
    for work in (gallery.open, gallery.delete):
        with pytest.raises(NotFound):
            work(WORKSPACE, "sub/x.png")
    assert (tmp_path / "other" / "x.png").exists()


@pytest.mark.parametrize("part", ["output", ""])
def test_a_link_in_the_place_of_the_own_folder_leads_nowhere(
    gallery: Gallery, output: Path, tmp_path: Path, part: str
) -> None:
    others = workspace(tmp_path, "8-bob-0123abcd")
    png(others / "x.png")
    own = output.parent / part if part else output.parent
    own.rename(tmp_path / "aside")
    own.symlink_to(others if part else others.parent)
    assert gallery.listing(WORKSPACE) == scan.NOTHING
    with pytest.raises(NotFound):
        gallery.open(WORKSPACE, "x.png")


def test_a_file_of_another_account_is_not_served(
    gallery: Gallery, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    png(output / "x.png")
    assert paths(gallery) == ["x.png"]
    real = Folder.__enter__

    def other_owner(self: Folder) -> Folder:
        real(self).owner += 1
        return self

    monkeypatch.setattr(Folder, "__enter__", other_owner)
    assert paths(gallery) == []
    with pytest.raises(NotFound):
        gallery.open(WORKSPACE, "x.png")


def test_nothing_stays_open(gallery: Gallery, output: Path) -> None:
    png(output / "a" / "b" / "x.png")
    before = len([*Path("/proc/self/fd").iterdir()])
    gallery.listing(WORKSPACE)
    gallery.workflow(WORKSPACE, "a/b/x.png")
    for path in ("a/b/none.png", "a/none/x.png", "a/b.png"):
        with pytest.raises(NotFound):
            gallery.open(WORKSPACE, path)
    gallery.restore(WORKSPACE, "a/b/x.png", gallery.delete(WORKSPACE, "a/b/x.png"))
    os.close(gallery.open(WORKSPACE, "a/b/x.png").descriptor)
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_deleted_files_come_back_or_go_for_good(gallery: Gallery, output: Path) -> None:
    content = png(output / "a" / "x.png").read_bytes()
    name = gallery.delete(WORKSPACE, "a/x.png")
    assert not (output / "a" / "x.png").exists()
    assert paths(gallery) == []
    gallery.restore(WORKSPACE, "a/x.png", name)
    assert (output / "a" / "x.png").read_bytes() == content
    assert list((output.parent / "trash").iterdir()) == []
    again = gallery.delete(WORKSPACE, "a/x.png")
    born = int(again.split("-")[0])
    with Folder(output.parent.parent, WORKSPACE) as folder:
        trash.purge(folder, born + trash.KEEP_S - 1)
        assert [one.name for one in (output.parent / "trash").iterdir()] == [again]
        trash.purge(folder, born + trash.KEEP_S)
    assert list((output.parent / "trash").iterdir()) == []
    with pytest.raises(NotFound):
        gallery.restore(WORKSPACE, "a/x.png", again)


def test_undo_writes_over_nothing(gallery: Gallery, output: Path) -> None:
    png(output / "x.png")
    name = gallery.delete(WORKSPACE, "x.png")
    (output / "x.png").write_bytes(b"newer")
    with pytest.raises(Conflict):
        gallery.restore(WORKSPACE, "x.png", name)
    assert (output / "x.png").read_bytes() == b"newer"
    assert (output.parent / "trash" / name).exists()


@pytest.mark.parametrize("name", ["", "..", "../output/y.png", "1-0123456789abcdef/..", "x"])
def test_only_what_is_in_the_trash_comes_out_of_it(
    gallery: Gallery, output: Path, name: str
) -> None:
    png(output / "y.png")
    gallery.delete(WORKSPACE, str(png(output / "z.png").name))
    with pytest.raises(NotFound):
        gallery.restore(WORKSPACE, "x.png", name)
    assert (output / "y.png").exists()


def test_a_link_in_the_place_of_the_trash_takes_nothing_away(
    gallery: Gallery, output: Path, tmp_path: Path
) -> None:
    png(output / "x.png")
    (tmp_path / "elsewhere").mkdir()
    kept = tmp_path / "elsewhere" / "1-0123456789abcdef"
    kept.write_bytes(b"old enough to be purged")
    (output.parent / "trash").symlink_to(tmp_path / "elsewhere")
    gallery.listing(WORKSPACE)
    with pytest.raises(NotFound):
        gallery.delete(WORKSPACE, "x.png")
    with pytest.raises(NotFound):
        gallery.restore(WORKSPACE, "y.png", kept.name)
    assert kept.exists()
    assert (output / "x.png").exists()


def test_the_workflow_of_a_picture(gallery: Gallery, output: Path) -> None:
    png(output / "x.png")
    assert gallery.workflow(WORKSPACE, "x.png") == workflow.Workflow(WORKFLOW, PROMPT)


PACKED = zlib.compress(b'{"a": 1}')
BIG = zlib.compress(b" " * (workflow.MOST_BYTES + 1) + b"{}")
TEXTS = {
    "packed": (chunk(b"zTXt", b"prompt\0\0" + PACKED), '{"a": 1}'),
    "packed international": (chunk(b"iTXt", b"prompt\0\1\0\0\0" + PACKED), '{"a": 1}'),
    "unpacks too large": (chunk(b"zTXt", b"prompt\0\0" + BIG), None),
    "no zlib": (chunk(b"zTXt", b"prompt\0\0{}"), None),
    "no JSON": (chunk(b"tEXt", b"prompt\0<script>"), None),
    "a list": (chunk(b"tEXt", b"prompt\0[]"), None),
    "too deep": (chunk(b"tEXt", b"prompt\0" + b'{"a":' * 100_000), None),
    "another name": (chunk(b"tEXt", b"Prompt\0{}"), None),
    "no text": (chunk(b"tEXt", b"prompt"), None),
    "empty": (chunk(b"iTXt", b""), None),
    "after many": (chunk(b"IDAT", b"") * 99 + chunk(b"tEXt", b"prompt\0{}"), None),
    "after the end": (chunk(b"IEND", b"") + chunk(b"tEXt", b"prompt\0{}"), None),
    "cut": (chunk(b"tEXt", b"prompt\0{}")[:6], None),
    "longer than the file": (b"\xff\xff\xff\xfftEXtprompt\0{}", None),
}


@pytest.mark.parametrize(("content", "prompt"), TEXTS.values(), ids=TEXTS)
def test_texts_as_they_may_be(
    gallery: Gallery, output: Path, content: bytes, prompt: str | None
) -> None:
    (output / "x.png").write_bytes(SIGNATURE + content)
    assert gallery.workflow(WORKSPACE, "x.png") == workflow.Workflow(None, prompt)
