"""Whose a range of accounts is: never two managers' at once, and let go of when nobody lives."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manager.launcher import account, ranges
from manager.launcher.groups import Groups
from manager.launcher.isolation import USER, Isolation
from manager.launcher.local import LocalLauncher

BASE = 3_900_000_000
"""Nobody's: the tests of whole managers have theirs below."""


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run" / "notes"
    monkeypatch.setattr(ranges, "NOTES", path)
    return path


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return _data_dir(tmp_path / "one")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return _data_dir(tmp_path / "two")


def _data_dir(path: Path) -> Path:
    (path / "runs" / "launch").mkdir(parents=True)
    return path


@contextmanager
def _held(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _claim(data_dir: Path, base: int = BASE) -> str:
    return ranges.taken(base, data_dir, True)


@pytest.mark.parametrize("lock", ["manager.lock", "runs/launch/lock"])
def test_who_lives_keeps_his_range(one: Path, two: Path, lock: str) -> None:
    assert _claim(one) == ""
    with _held(one / lock):
        assert f"the manager of {one} uses accounts" in _claim(two)
        assert _claim(one) == ""
        # Asking alone is refused in the same way, and notes nothing.
        assert str(one) in ranges.taken(BASE, two, False)
    assert ranges.taken(BASE, two, False) == ""
    assert _claim(two) == ""
    with _held(two / "manager.lock"):
        assert str(two) in _claim(one)


def test_a_process_without_a_supervisor_keeps_the_range_too(
    one: Path, two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _claim(one) == ""
    monkeypatch.setattr(account, "uids_of", lambda _: frozenset({BASE + 7}))
    assert str(one) in _claim(two)
    assert _claim(two, BASE + account.COUNT) == ""


@pytest.mark.parametrize(
    ("away", "meets"),
    [
        (0, True),
        (account.COUNT - 1, True),
        (1 - account.COUNT, True),
        (account.COUNT, False),
        (-account.COUNT, False),
    ],
)
def test_ranges_that_share_an_account_meet(one: Path, two: Path, away: int, meets: bool) -> None:
    assert _claim(one) == ""
    with _held(one / "manager.lock"):
        assert (_claim(two, BASE + away) != "") is meets


def test_a_note_of_nobody_alive_is_removed_and_others_stay(
    notes: Path, one: Path, two: Path
) -> None:
    assert _claim(one) == ""
    assert _claim(one, BASE - account.COUNT) == ""
    assert _claim(two, BASE + 1) == ""
    assert sorted(path.name for path in notes.iterdir()) == [
        str(BASE - account.COUNT),
        str(BASE + 1),
    ]
    assert {path.stat().st_mode & 0o777 for path in [notes, *notes.iterdir()]} == {0o700, 0o600}


@pytest.mark.parametrize("torn", [b"", b"no/path"])
def test_a_note_that_names_no_folder_is_removed(notes: Path, one: Path, torn: bytes) -> None:
    assert _claim(one) == ""
    (notes / str(BASE + 1)).write_bytes(torn)
    assert _claim(one) == ""
    assert [path.name for path in notes.iterdir()] == [str(BASE)]


def test_a_data_directory_that_is_gone_uses_nothing(one: Path, two: Path) -> None:
    assert _claim(one) == ""
    (one / "runs" / "launch").rmdir()
    (one / "runs").rmdir()
    one.rmdir()
    assert _claim(two) == ""
    two.rename(one.with_name("three"))
    two.touch()
    assert _claim(one.with_name("three")) == ""


def test_in_doubt_the_accounts_are_not_used(notes: Path, one: Path, two: Path) -> None:
    assert _claim(one) == ""
    # A lock that cannot be opened as one, whoever asks.
    (one / "manager.lock").symlink_to("manager.lock")
    assert "nobody can tell whether another manager uses" in _claim(two)
    (one / "manager.lock").unlink()
    notes.chmod(0o777)
    assert "not a folder for root alone" in _claim(two)


def test_without_a_place_for_notes_accounts_are_not_used(notes: Path, one: Path) -> None:
    notes.parent.write_text("in the way")
    assert "nobody can tell" in _claim(one)
    # Who does not want to use any need not note it.
    assert ranges.taken(BASE, one, False) == ""


def test_of_many_at_once_one_gets_the_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = ranges._holder

    def look_and_linger(base: int, own: Path) -> str | None:
        found = look(base, own)
        time.sleep(0.02)
        return found

    monkeypatch.setattr(ranges, "_holder", look_and_linger)
    folders = [_data_dir(tmp_path / str(number)) for number in range(8)]
    files = [(folder / "manager.lock").open("w") for folder in folders]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    ready, said = threading.Barrier(len(folders)), []

    def ask(folder: Path) -> None:
        ready.wait()
        said.append(_claim(folder))

    threads = [threading.Thread(target=ask, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for file in files:
        file.close()
    assert said.count("") == 1
    assert len(said) == len(folders)


def test_accounts_of_another_manager_are_not_ended(tmp_path: Path) -> None:
    mine = Isolation(USER, 0, os.geteuid() == 0, BASE, Groups(), tmp_path, ())
    assert LocalLauncher(tmp_path, mine)._accounts == account.accounts(BASE)
    others = Isolation(USER, 0, True, BASE, Groups(), tmp_path, (), taken="another's")
    assert list(LocalLauncher(tmp_path, others)._accounts) == []
