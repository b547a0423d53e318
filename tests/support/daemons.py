"""Programs with whole trees of processes below them, which a test begins, hits and ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.waiting import wait_until

REAPER = Path(__file__).with_name("reaper.py")


class Daemon:
    """One program below a reaper of its own; what it prints goes to ``log``."""

    def __init__(self, words: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.log = log
        with log.open("ab") as out:
            self._reaper = subprocess.Popen(
                [sys.executable, "-I", str(REAPER), *words],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env=dict(env),
                start_new_session=True,
            )
        wait_until(self.tree, what=f"{words[0]} has begun")

    def tree(self) -> list[psutil.Process]:
        """List all that lives of it, without the reaper."""
        with suppress(psutil.NoSuchProcess):
            return [
                one
                for one in psutil.Process(self._reaper.pid).children(recursive=True)
                if _state(one) != psutil.STATUS_ZOMBIE
            ]
        return []

    def named(self, name: str) -> Iterator[psutil.Process]:
        """Give its processes whose program is called so."""
        for one in self.tree():
            with suppress(psutil.NoSuchProcess):
                if one.name() == name:
                    yield one

    def kill(self, name: str) -> None:
        """Kill one of its programs, and nothing else of it."""
        found = list(self.named(name))
        assert found, f"no {name} here"
        for one in found:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        wait_until(lambda: not any(_lives(one) for one in found), what=f"{name} is dead")

    def end(self) -> None:
        """End all of it; fails when anything is left."""
        assert self._reaper.stdin is not None
        if self._reaper.poll() is not None:
            return
        tree = self.tree()
        self._reaper.stdin.close()
        assert self._reaper.wait(30) == 0
        assert not [one for one in tree if _lives(one)]


def _state(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_ZOMBIE)


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and _state(process) != psutil.STATUS_ZOMBIE
