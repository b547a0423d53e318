"""A full disk and a read-only data folder under a running manager: said in words, and healed."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.chaos import SETTINGS, Json, account, opens, row_of
from tests.support.client import Client, first_admin, new_user
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

DISK = "32m"


def _mount(*words: str) -> bool:
    done = subprocess.run(["mount", *words], capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Have a small file system of one's own at ``folder``, where this account may mount."""
    folder.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def limited(pid: int) -> Iterator[None]:
    """Let a process write no byte into any file, as setrlimit(2) offers it to everybody."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Fill a file system to the last byte."""
    filler = folder / "filler"
    file = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 20, 1 << 12, 1):
            with pytest.raises(OSError, match="No space left"):
                while True:
                    os.write(file, b"x" * size)
        yield
    finally:
        os.close(file)
        filler.unlink()


@contextmanager
def read_only(folder: Path, pid: int) -> Iterator[None]:
    """Make all that is opened below ``folder`` from now on read-only."""
    if not _mount("--bind", str(folder), str(folder)):
        with limited(pid):
            yield
        return
    try:
        assert _mount("-o", "remount,bind,ro", str(folder))
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class House:
    """A running manager with user a at work and user b about to start."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.manager = ManagerProcess(folder, settings={**SETTINGS, "STOP_TIMEOUT": "1"})
        stack.enter_context(self.manager)
        self.admin = stack.enter_context(first_admin(self.manager))
        self.a: Client = stack.enter_context(new_user(self.admin, "a", self.manager.ports[0]))
        self.b: Client = stack.enter_context(new_user(self.admin, "b", self.manager.ports[1]))
        self.url = str(self.a.start()["workspace_url"])
        self.pid = row_of(self.manager, self.manager.ports[0])["process_id"]

    @property
    def manager_pid(self) -> int:
        assert self.manager.process is not None
        return self.manager.process.pid

    def goes_on(self) -> None:
        """Prove that pages answer and that a's work is the same process behind the same link."""
        assert self.manager.health()
        for path in ("/", "/api/user/state"):
            assert self.a.ask("GET", path).status_code == 200
        assert self.admin.ask("GET", "/admin").status_code == 200
        assert self.a.state()["instance"]["workspace_url"] == self.url
        assert opens(self.url) == 200
        assert row_of(self.manager, self.manager.ports[0])["process_id"] == self.pid

    def start_is_refused_in_words(self) -> str:
        """Have b try to start; give what he is told."""
        answer = self.b.ask("POST", "/api/user/start")
        if not answer.ok:
            return str(answer.json()["error"]["message"])

        def failed() -> Json | None:
            state = self.b.state()
            return state if state["instance"] is None else None

        state = wait_until(failed, 30, what="the start fails") or {}
        return str(state["last_usage"]["fault"])

    def heals(self) -> None:
        """Prove that everything works again."""
        wait_until(lambda: self.b.ask("POST", "/api/user/start").ok, what="a start is taken")
        self.b.until_running()
        self.goes_on()
        assert account(self.manager, {self.url}) == []
        self.a.stop()
        self.b.stop()
        assert account(self.manager, {self.url}) == []


def _refused_start(house: House) -> str:
    """Start the killed manager again on a disk that it cannot use; give what it says."""
    said_before = house.manager.output_path.read_text(encoding="utf-8")
    house.manager.spawn()
    assert house.manager.process is not None
    # 1 is tried again by systemd, 2 is not: nothing is wrong with the settings.
    assert house.manager.process.wait(60) == 1
    assert opens(house.url) == 200
    said = house.manager.output_path.read_text(encoding="utf-8")
    return said.removeprefix(said_before)


def _levels(house: House) -> list[str]:
    """List the isolation that each manager which got so far has put into force."""
    lines = house.manager.log_path.read_text(encoding="utf-8").splitlines()
    return [line.split("isolation: ")[1] for line in lines if "isolation: " in line]


def test_a_full_disk_ends_nobodys_work_and_heals(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    with small_disk(folder) as mounted, ExitStack() as stack:
        house = House(folder, stack)
        with filled(folder) if mounted else limited(house.manager_pid):
            told = house.start_is_refused_in_words()
            house.goes_on()
        assert "disk may be full" in told or "space" in told
        house.heals()


def test_no_byte_written_ends_nobodys_work_and_heals(tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = House(tmp_path, stack)
        with limited(house.manager_pid):
            told = house.start_is_refused_in_words()
            house.goes_on()
        assert "disk may be full" in told or "File too large" in told, told
        house.heals()


def test_a_read_only_data_folder_is_named_and_heals(tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = House(tmp_path, stack)
        with read_only(house.manager.data_dir, house.manager_pid):
            told = house.start_is_refused_in_words()
            house.goes_on()
        assert "Read-only file system" in told or "cannot be" in told
        house.heals()


def test_a_start_on_a_full_disk_is_refused_and_takes_nothing_away(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    with small_disk(folder) as mounted, ExitStack() as stack:
        if not mounted and not os.environ.get("CI"):
            pytest.skip("this account may not mount")
        house = House(folder, stack)
        house.manager.kill()
        with read_only(house.manager.data_dir, os.getpid()):
            said = _refused_start(house)
        assert "Read-only file system" in said
        assert "Traceback" not in said
        with filled(folder):
            # The full disk has no room for the program's words either.
            house.manager.output_path = tmp_path / "output.txt"
            house.manager.output_path.touch()
            said = _refused_start(house)
        assert "No space left" in said
        assert "users' work goes on" in said
        assert "Traceback" not in said
        house.manager.start()
        house.goes_on()
        # A disk that was full is no reason for less isolation.
        assert len(set(_levels(house))) == 1
        house.heals()
