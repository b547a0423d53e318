"""Which device nodes an instance may open that runs as root."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from manager.launcher.nodes import for_root

CARDS = 4711


def _node(path: Path, mode: int, kind: int = stat.S_IFCHR, group: int = 0) -> Path:
    assert os.geteuid() == 0, "making device nodes needs root; run these tests as root"
    os.mknod(path, kind | mode, os.makedev(240, 1))
    path.chmod(mode)
    os.chown(path, 0, group)
    return path


def test_disks_and_what_is_roots_own_stay_closed(tmp_path: Path) -> None:
    null = _node(tmp_path / "null", 0o666)
    card = _node(tmp_path / "davinci0", 0o660, group=CARDS)
    named = _node(tmp_path / "nvidia0", 0o600)
    _node(tmp_path / "mem", 0o640)
    _node(tmp_path / "kvm", 0o660, group=36)
    _node(tmp_path / "sda", 0o660, stat.S_IFBLK, group=6)
    # Whatever its mode or group, a disk is a disk.
    _node(tmp_path / "open-disk", 0o666, stat.S_IFBLK, group=CARDS)
    (tmp_path / "mapper").mkdir()
    (tmp_path / "pts").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "sda")
    found = for_root([named, tmp_path / "gone"], [CARDS], tmp_path)
    assert found == sorted(map(str, (null, card, named, tmp_path / "pts")))
