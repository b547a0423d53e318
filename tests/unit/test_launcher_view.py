"""What an instance may see: all but the hidden, whatever links and names try."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manager.launcher import view
from manager.launcher.view import visible


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("srv/app/data/alice", "srv/app/code", "srv/models", "usr/lib", "home/lab/models"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("srv/app/db", "srv/app/db-wal", "srv/app/readme", "srv/app/code/main.py"):
        (tmp_path / name).touch()
    return tmp_path


def _seen(tree: Path, paths: tuple[Path, ...]) -> set[str]:
    return {str(path.relative_to(tree)) for path in paths}


def _ours(tree: Path) -> list[Path]:
    return [tree / "srv/app/data", tree / "srv/app/db"]


def test_only_what_is_hidden_is_left_out(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "PRIVATE", (tree / "home",))
    found = visible([], _ours(tree), root=tree)
    assert _seen(tree, found) == {"srv/app/code", "srv/app/readme", "srv/models", "usr"}


def test_what_is_needed_is_seen_even_below_a_private_folder(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "PRIVATE", (tree / "home",))
    found = visible([tree / "home/lab/models"], _ours(tree), root=tree)
    assert "home/lab/models" in _seen(tree, found)
    assert "home/lab" not in _seen(tree, found)


def test_what_is_ours_stays_hidden_inside_what_is_needed(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "PRIVATE", (tree,))
    found = visible([tree / "srv/app"], _ours(tree), root=tree)
    assert _seen(tree, found) == {"srv/app/code", "srv/app/readme"}


@pytest.mark.parametrize("target", ["srv/app/data", "srv/app/data/alice", "srv/app", ".", "home"])
def test_a_link_shows_nothing_hidden(
    tree: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(view, "PRIVATE", (tree / "home",))
    (tree / "srv/link").symlink_to(tree / target)
    found = visible([], _ours(tree), root=tree)
    assert "srv/link" not in _seen(tree, found)


def test_a_harmless_link_stays(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "PRIVATE", (tree / "home",))
    (tree / "srv/link").symlink_to(tree / "srv/models")
    (tree / "srv/dead").symlink_to(tree / "srv/nothing")
    assert {"srv/link"} == {
        name for name in _seen(tree, visible([], _ours(tree), root=tree)) if "link" in name
    }


def test_a_link_to_what_is_ours_hides_what_it_leads_to(tree: Path) -> None:
    (tree / "srv/short").symlink_to(tree / "srv/app/data")
    found = visible([tree / "srv"], [tree / "srv/short"], root=tree / "usr")
    assert not any(path.is_relative_to(tree / "srv/app/data") for path in found)
    assert "srv/app/code" in _seen(tree, found)


def test_a_folder_too_full_to_list_is_hidden(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "PRIVATE", ())
    monkeypatch.setattr(view, "MOST_ENTRIES", 3)
    assert not {name for name in _seen(tree, visible([], _ours(tree), root=tree)) if "app" in name}


def test_root_s_own_secrets_are_hidden_from_an_instance_of_root(tree: Path) -> None:
    found = visible([], [], as_root=True)
    for secret in ("/etc/shadow", "/etc/shadow-", "/etc/ssh"):
        assert not any(Path(secret).is_relative_to(path) for path in found)
    assert any(Path("/etc/passwd").is_relative_to(path) for path in found)


PARTS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.lists(PARTS, max_size=6), st.lists(PARTS, min_size=1, max_size=3), st.data())
def test_no_allowed_path_ever_holds_or_lies_in_a_hidden_one(
    tmp_path_factory: pytest.TempPathFactory,
    folders: list[list[str]],
    hidden: list[list[str]],
    data: st.DataObject,
) -> None:
    root = tmp_path_factory.mktemp("view")
    for parts in [*folders, *hidden]:
        root.joinpath(*parts).mkdir(parents=True, exist_ok=True)
    needed = data.draw(st.lists(st.sampled_from(folders or hidden), max_size=2))
    ours = [root.joinpath(*parts) for parts in hidden]
    found = visible([root.joinpath(*parts) for parts in needed], ours, root=root)
    for one in ours:
        assert not any(one.is_relative_to(path) or path.is_relative_to(one) for path in found)
