"""The walk itself, as a real process over real folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from manager.disk import WALKER, walker
from tests.support.looked import looked

pytestmark = pytest.mark.integration

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
SIZE = 100_000


def file(path: Path, size: int = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def walk(workspace: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-I", str(WALKER), str(workspace)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def taken(*paths: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in paths)


def test_each_file_counts_once_and_no_link_is_followed(tmp_path: Path) -> None:
    outside = file(tmp_path / "outside" / "big", 5_000_000)
    mine = tmp_path / "mine"
    picture = file(mine / "output" / "deep" / "picture.png")
    os.link(picture, mine / "output" / "again.png")
    (mine / "output" / "link").symlink_to(outside)
    (mine / "output" / "away").symlink_to(outside.parent)
    (mine / "output" / "loop").symlink_to(mine)
    os.mkfifo(mine / "output" / "pipe")
    (mine / "user").symlink_to(outside.parent)
    (mine / "temp").mkdir()
    told = walk(mine)
    links = [mine / "output" / name for name in ("link", "away", "loop", "pipe")]
    folders = taken(mine / "output", mine / "output" / "deep")
    assert told["folders"]["output"] == taken(picture, *links) + folders
    assert told["folders"]["temp"] == taken(mine / "temp")
    assert "user" not in told["folders"]
    assert told["complete"]


def test_a_workspace_that_is_a_link_is_not_walked(tmp_path: Path) -> None:
    file(tmp_path / "other" / "output" / "x")
    (tmp_path / "mine").symlink_to(tmp_path / "other")
    done = subprocess.run(
        [sys.executable, "-I", str(WALKER), str(tmp_path / "mine")],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout == b""


def test_too_deep_or_too_long_says_at_least(tmp_path: Path) -> None:
    deep = tmp_path / "output"
    for _ in range(walker.DEPTH + 5):
        deep = deep / "d"
    file(deep / "far")
    file(tmp_path / "output" / "near")
    told = walk(tmp_path)
    assert not told["complete"]
    assert told["folders"]["output"] >= SIZE
    many = tmp_path / "many"
    for number in range(600):
        file(many / str(number), 1)
    ticks = iter(range(1000))
    short = walker.Walk(1, lambda: float(next(ticks)))
    folder = os.open(many, os.O_RDONLY)
    try:
        short.add_up(folder)
    finally:
        os.close(folder)
    assert not short.complete
    assert short.entries < 600


@AS_ROOT
def test_a_closed_folder_is_counted_and_nothing_else_of_root_is_kept(tmp_path: Path) -> None:
    closed = tmp_path / "mine" / "output" / "closed"
    file(closed / "picture.png")
    for path in (closed / "picture.png", closed, closed.parent):
        os.chown(path, 54_321, 54_321)
    closed.chmod(0o700)
    assert walk(tmp_path / "mine")["folders"]["output"] >= SIZE
    # The program as it is, but for what it does with a folder that it has opened.
    look = (
        "import os, sys; from manager.disk import walker; "
        "walker.Walk.add_up = lambda *_: print(open('/proc/self/status').read(), os.nice(0)); "
        "walker.main(sys.argv[1])"
    )
    said, own = looked(look, tmp_path / "mine")
    assert own["Uid"].split() == [str(walker.NOBODY)] * 4
    assert own["Groups"].split() == []
    assert int(own["CapEff"], 16) in {1 << one for one in walker.MAY_LOOK}
    assert int(own["CapPrm"], 16) == int(own["CapEff"], 16)
    assert int(own["CapInh"], 16) == int(own["CapAmb"], 16) == 0
    assert own["NoNewPrivs"] == "1"
    assert " 19\n" in said
