"""Where version 2 may hand limits down: from a group that is certainly the manager's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manager.launcher import cgroups, groups
from manager.launcher.groups import Groups

FILES = ("cgroup.procs", "cgroup.subtree_control", "cgroup.kill")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a tree as systemd makes it for a service with ``DelegateSubgroup=manager``."""
    attributes: dict[tuple[str, str], bytes] = {}

    def get(path: Path, name: str) -> bytes:
        try:
            return attributes[str(path), name]
        except KeyError:
            raise OSError(61, "No data available") from None

    def put(path: Path, name: str, value: bytes) -> None:
        attributes[str(path), name] = value

    # Not every file system that tests run on keeps these.
    monkeypatch.setattr(os, "getxattr", get)
    monkeypatch.setattr(os, "setxattr", put)
    monkeypatch.setattr(groups, "ROOT", tmp_path)
    monkeypatch.setattr(groups, "_joins", lambda _: True)
    leaf = _group(tmp_path / "system.slice" / "service" / "manager")
    put(_group(leaf.parent), "user.delegate", b"1")
    _group(leaf.parent.parent)
    monkeypatch.setattr(groups, "_own_groups", lambda: {"v2": leaf})
    return leaf


def _group(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (path / name).touch()
    return path


def _asked(path: Path) -> str:
    return (path / "cgroup.subtree_control").read_text()


def test_groups_are_made_beside_the_manager_in_what_is_its_own(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, object]] = []
    put = cgroups.write

    def write(paths: list[Path], name: str, value: object) -> bool:
        written.extend((str(path / name), value) for path in paths)
        return put(paths, name, value)

    monkeypatch.setattr(groups, "write", write)
    monkeypatch.setattr(groups, "_ends", lambda _: True)
    assert groups.find().parents == {"v2": own.parent}
    control = str(own.parent / "cgroup.subtree_control")
    assert written[:2] == [(control, "+memory"), (control, "+pids")]
    # Neither the group above nor the one that the manager is in.
    outside = (str(own), str(own.parent.parent / "cgroup"))
    assert not [path for path, _ in written if path.startswith(outside)]


@pytest.mark.parametrize(
    "why", ["another name", "not delegated", "taken back", "refused", "not v2"]
)
def test_in_any_doubt_groups_are_made_below_the_managers_own(
    own: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(groups, "_ends", lambda _: True)
    if why == "another name":
        own = own.rename(own.with_name("session-1.scope"))
        monkeypatch.setattr(groups, "_own_groups", lambda: {"v2": own})
    elif why == "not delegated":
        monkeypatch.setattr(os, "getxattr", _no_attributes)
    elif why == "taken back":
        monkeypatch.setattr(os, "getxattr", lambda *_: b"0")
    elif why == "not v2":
        monkeypatch.setattr(groups, "ROOT", own)
    else:
        # As the kernel does while a process is in the group.
        monkeypatch.setattr(groups, "write", lambda *_: False)
    assert groups.find().parents == {"v2": own}
    assert _asked(own.parent) == _asked(own) == ""


def _no_attributes(*_: object) -> bytes:
    raise OSError(95, "Operation not supported")


def test_limits_that_a_new_start_of_the_service_took_back_hold_again(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "_ends", lambda _: True)
    launch, older = (_group(own.parent / f"comfyui-{name}") for name in ("one", "older"))
    (launch / "memory.max").touch()
    (launch / "pids.max").touch()
    Groups({"v2": own.parent}).make("one", 1 << 20, 9)
    for path in (launch, older):
        (path / "memory.max").write_text("")
        (path / "pids.max").write_text("")
    groups.find()
    assert (launch / "memory.max").read_text() == str(1 << 20)
    assert (launch / "pids.max").read_text() == "9"
    assert (older / "memory.max").read_text() == ""
