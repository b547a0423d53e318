"""A user's directories, on a real temporary disk."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager import workspace
from manager.errors import WorkspaceFailed
from manager.settings import Settings

FOLDERS = ["home", "input", "output", "temp", "user"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return dataclasses.replace(Settings(), data_dir=tmp_path / "data")


@given(st.integers(1, 10**9), st.text(max_size=400))
def test_any_username_gives_a_harmless_name(user_id: int, username: str) -> None:
    name = workspace.folder_name(user_id, username)
    assert name.startswith(f"{user_id}-")
    assert len(name) < 80
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@pytest.mark.parametrize(
    "username", ["../../etc", "a/b", "..", '"; rm -rf ~', "张三", "🙂" * 50, "x" * 300, "", "-"]
)
def test_awkward_usernames_get_directories_of_their_own(settings: Settings, username: str) -> None:
    made = workspace.prepare(settings, workspace.folder_name(7, username))
    assert made.path.parent == settings.data_dir / "workspaces"
    assert sorted(path.name for path in made.path.iterdir()) == FOLDERS


def test_equal_names_never_share_a_folder() -> None:
    names = {workspace.folder_name(1, "alice") for _ in range(20)}
    assert len(names) == 20


def test_directories_are_private_empty_and_kept(settings: Settings) -> None:
    made = workspace.prepare(settings, "1-alice-ab")
    for folder in (settings.data_dir, made.path.parent, made.path, made.input, made.user):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(made.output.iterdir()) == []
    (made.output / "image.png").write_bytes(b"png")
    assert workspace.prepare(settings, "1-alice-ab") == made
    assert (made.output / "image.png").read_bytes() == b"png"


@pytest.mark.parametrize("name", ["", "..", "1-a/../../b", "1-a\n", "alice", "1"])
def test_a_name_that_was_not_made_here_is_refused(settings: Settings, name: str) -> None:
    with pytest.raises(WorkspaceFailed, match="no name"):
        workspace.prepare(settings, name)
    assert not settings.data_dir.exists()


def test_a_file_in_the_way_is_named(settings: Settings) -> None:
    made = workspace.prepare(settings, "1-alice-ab")
    made.temp.rmdir()
    made.temp.write_text("in the way")
    with pytest.raises(WorkspaceFailed, match=r"temp cannot be used: .*move it away"):
        workspace.prepare(settings, "1-alice-ab")


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "account write"), (errno.EROFS, "DATA_DIR")],
)
def test_a_directory_that_cannot_be_written_is_named_with_advice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(dir: Path) -> None:
        raise OSError(number, os.strerror(number), str(dir))

    monkeypatch.setattr("manager.workspace.tempfile.TemporaryFile", refuse)
    with pytest.raises(WorkspaceFailed, match=advice) as caught:
        workspace.prepare(settings, "1-alice-ab")
    assert "input" in str(caught.value)
    assert os.strerror(number) in str(caught.value)
