"""Handing a folder over: everything inside, and nothing that a link or a second name leads to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manager.launcher.ownership import closed_to_others, hand_over, let_through

UID = 2_001_000_777


@pytest.fixture(autouse=True)
def as_root() -> None:
    assert os.geteuid() == 0, "changing owners needs root; run these tests as root"


def test_all_in_a_folder_changes_hands_once(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/image.png").touch()
    assert hand_over(tmp_path / "a", UID) == 3
    for path in (tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/image.png"):
        assert (path.stat().st_uid, path.stat().st_gid) == (UID, UID)
    assert hand_over(tmp_path / "a", UID) == 0


def test_a_walk_cut_short_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/done").touch()
    (tmp_path / "a/left").touch()
    os.chown(tmp_path / "a/done", UID, UID)
    assert hand_over(tmp_path / "a", UID) == 2
    assert (tmp_path / "a/left").stat().st_uid == UID


def test_a_folder_made_since_changes_hands_too(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    hand_over(folder, UID)
    (folder / "home").mkdir()
    assert hand_over(folder, UID) == 1
    assert (folder / "home").stat().st_uid == UID


def test_links_and_second_names_are_never_followed(tmp_path: Path) -> None:
    stranger, folder = tmp_path / "stranger", tmp_path / "a"
    stranger.mkdir()
    folder.mkdir()
    (stranger / "file").touch()
    (stranger / "other").touch()
    (folder / "link").symlink_to(stranger / "file")
    (folder / "folder").symlink_to(stranger)
    (folder / "second").hardlink_to(stranger / "other")
    hand_over(folder, UID)
    for path in (stranger, stranger / "file", stranger / "other"):
        assert path.stat().st_uid == 0
    assert (folder / "link").lstat().st_uid == UID


def test_a_folder_given_as_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    hand_over(tmp_path / "link", UID)
    assert (tmp_path / "real").stat().st_uid == 0


def test_the_way_through_shows_nothing(tmp_path: Path) -> None:
    let_through(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o711


def test_the_first_closed_folder_is_named(tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
            # The test run's own folders are closed to others.
            assert closed_to_others(outer / "inner") is not None
    assert closed_to_others(Path("/usr/bin/env")) is None
    outer.chmod(0o700)
    found = closed_to_others(outer / "inner")
    assert found is not None
    assert (outer / "inner").is_relative_to(found)
    assert closed_to_others(Path("/nowhere/at/all")) == Path("/nowhere")
