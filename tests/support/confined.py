"""A real supervisor with a plan of its own, and the proof that nothing of it is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manager.identity import Identity, alive
from manager.launcher.processes import MARKER, Stat, all_stats, descendants, marked
from manager.launcher.run_dir import RunDir
from tests.support.launcher import noted, unique
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
MANAGER = ROOT / "manager"
SECRET = "s" * 32

OWN_ACCOUNT = 2001900000 + 3 * (os.getpid() % 30_000)
"""An account for instances that no other run of the tests and no person uses."""

UNPRIVILEGED = OWN_ACCOUNT + 1
"""An account for a supervisor without root."""

STRANGER = OWN_ACCOUNT + 2
"""An account whose files are closed to the others."""

SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc")
OWN_DIRECTORIES = ("/tmp",)


AS_IN_THE_BACKGROUND = ("/usr/bin/env", "--ignore-signal=INT,QUIT,CHLD")
"""A shell's ``&`` and some service programs begin what they start so."""


@dataclass(frozen=True)
class Case:
    """One way to confine; ``account`` runs the supervisor, None for this one."""

    landlock: bool = False
    uid: int | None = None
    sandbox: bool = False
    account: int | None = None
    drop: bool = True

    @property
    def lives_as(self) -> int:
        return next((uid for uid in (self.uid, self.account) if uid is not None), os.getuid())


CASES = {
    "nothing": Case(drop=False),
    "landlock": Case(landlock=True),
    "own account": Case(uid=OWN_ACCOUNT),
    "own account, landlock": Case(uid=OWN_ACCOUNT, landlock=True),
    "sandbox": Case(uid=OWN_ACCOUNT, sandbox=True),
    "sandbox, landlock": Case(uid=OWN_ACCOUNT, sandbox=True, landlock=True),
    "sandbox without root": Case(account=UNPRIVILEGED, sandbox=True),
    "sandbox without root, landlock": Case(account=UNPRIVILEGED, sandbox=True, landlock=True),
}
SANDBOXES = {name: case for name, case in CASES.items() if case.sandbox}


def python_for_all() -> str:
    """Find a Python that every account can run; this one's own may be below a closed home."""
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    assert found, "these tests need a python3 that every account can run"
    return found


@dataclass
class Confined:
    """One launch in a folder that other accounts can reach."""

    folder: Path
    case: Case
    manager: Path
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.run = RunDir(self.folder / "run")
        self.home = self.folder / "home"
        self.launch_id = unique("confined")
        self.namespaces: dict[str, int] = {}
        for path in (self.run.path, self.home):
            path.mkdir(mode=0o700)
        os.chown(self.home, self.case.lives_as, self.case.lives_as)

    def plan(self) -> dict[str, Any]:
        """Give the plan of the case; ``changes`` overrides, None takes away."""
        case, home = self.case, str(self.home)
        plan: dict[str, Any] = {"secret": True, "drop": case.drop}
        if case.uid is not None:
            plan |= {"uid": case.uid, "gids": []}
        if case.landlock:
            plan["landlock"] = {
                "readable": [*SYSTEM, str(self.folder / "shared")],
                "writable": [home, *(OWN_DIRECTORIES if case.sandbox else ())],
                "devices": ["/dev"],
            }
        if case.sandbox:
            plan["sandbox"] = {
                "bwrap": "/usr/bin/bwrap",
                "python": python_for_all(),
                "readable": [*SYSTEM, str(self.folder / "shared")],
                "writable": [home],
                "hidden": [],
                "devices": [],
                "unprivileged": case.account is not None,
            }
        plan |= self.changes
        return {name: value for name, value in plan.items() if value is not None}

    def start(self, *argv: str, plan: str | None = None, program: str = "") -> None:
        """Start the supervisor; ``argv`` are the words behind Python, ``plan`` the file's text."""
        run = self.run
        (run.path / "plan").write_text(json.dumps(self.plan()) if plan is None else plan)
        run.secret.write_text(SECRET)
        for path in (run.path, run.path / "plan", run.secret):
            os.chown(path, *[self.case.account if self.case.account is not None else -1] * 2)
        supervisor = str(self.manager / "launcher" / "supervisor.py")
        start = [*AS_IN_THE_BACKGROUND, python_for_all(), "-I", "-S", supervisor]
        account = self.case.account
        log = run.open_log()
        os.chown(log, account if account is not None else -1, -1)
        self.process = subprocess.Popen(
            [*start, str(run.path), str(1 << 20), program or python_for_all(), *argv],
            env={"PATH": "/usr/bin:/bin", MARKER: self.launch_id},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=account,
            group=account,
            extra_groups=None if account is None else [],
        )
        os.close(log)

    def log(self) -> str:
        return (self.run.path / "log").read_text(errors="replace")

    def until(self, text: str) -> None:
        wait_until(lambda: text in self.log() or self._failed(), what=f"{text!r} in the log")
        self.look_around()

    def _failed(self) -> bool:
        assert self.process.poll() is None, self.log()
        return False

    def until_gone(self) -> int | None:
        """Wait for the supervisor's own end; give the program's exit code."""
        wait_until(lambda: self.process.poll() is not None, what="the supervisor's end")
        return self.run.exit_code()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def identity(self) -> Identity:
        """Give the program itself, as recorded."""
        _, main = self.run.identities()
        assert main is not None
        return main

    def look_around(self) -> None:
        """Remember the namespaces of processes of the sandbox: who is in one is ours."""
        if self.case.sandbox and self.process.poll() is None:
            own = _namespace(self.process.pid)
            below = self._below(all_stats())
            for one in below:
                self._hold(one.pid, own)

    def _hold(self, pid: int, own: str) -> None:
        """Keep a process's namespace open: the kernel gives the number of one that is gone again,
        also to a sandbox of somebody else.
        """
        try:
            file = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        name = str(Path(f"/proc/self/fd/{file}").readlink())
        if name == own or name in self.namespaces:
            os.close(file)
        else:
            self.namespaces[name] = file

    def close(self) -> None:
        """Let go of the namespaces."""
        while self.namespaces:
            os.close(self.namespaces.popitem()[1])

    def _below(self, stats: list[Stat]) -> list[Identity]:
        # Once it is collected, its number may be anybody's: the torture alone uses up thousands.
        if self.process.returncode is not None:
            return []
        return descendants(stats, [self.process.pid])

    def processes(self) -> list[int]:
        """Give everybody who lives and came from this launch, whatever became of their marks."""
        stats = all_stats()
        found = {one.pid for one in marked(stats).get(self.launch_id, [])}
        found |= {one.pid for one in self._below(stats)}
        if not self.case.sandbox:
            found |= {one.pid for one in noted(self.home / "pids") if alive(one)}
        for stat in stats:
            if _namespace(stat.pid) in self.namespaces:
                found.add(stat.pid)
            if self.case.lives_as != os.getuid() and _account(stat.pid) == self.case.lives_as:
                found.add(stat.pid)
        return sorted(found)

    def end(self) -> None:
        """Kill all and prove that nobody is left."""
        self.look_around()
        while self.process.poll() is None:
            # Not heard before it has begun.
            self.signal(signal.SIGUSR1)
            self.signal(signal.SIGCONT)
            try:
                self.process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        assert self.processes() == []


@contextmanager
def confined(case: Case, **changes: Any) -> Iterator[Confined]:
    """Lend a launch; end it afterwards. ``manager`` may name a copy of the package."""
    assert os.getuid() == 0, "these tests give accounts to processes: run them as root"
    folder = Path(tempfile.mkdtemp(prefix="confined-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        # The supervisor without root must be able to read itself.
        manager = changes.pop("manager", None) or copy_of_the_manager(folder)
        (folder / "shared").mkdir()
        (folder / "shared" / "model").write_text("weights")
        (folder / "shared" / "closed").write_text("closed")
        os.chown(folder / "shared" / "closed", STRANGER, -1)
        (folder / "shared" / "closed").chmod(0o600)
        launch = Confined(folder, case, manager, changes)
        yield launch
        if hasattr(launch, "process"):
            launch.end()
    finally:
        if "launch" in locals() and hasattr(launch, "process"):
            launch.process.kill()
            launch.process.wait()
            launch.close()
        shutil.rmtree(folder)


def copy_of_the_manager(folder: Path, **appended: str) -> Path:
    """Copy what runs beside an instance, with text added to the modules that are named."""
    launcher = folder / "manager" / "launcher"
    launcher.mkdir(parents=True)
    shutil.copy(MANAGER / "__init__.py", launcher.parent)
    for path in (MANAGER / "launcher").glob("*.py"):
        shutil.copy(path, launcher)
    for name, text in appended.items():
        with (launcher / f"{name}.py").open("a") as file:
            file.write(f"\n{text}\n")
    for path in (launcher.parent, *launcher.parent.rglob("*")):
        path.chmod(0o755)
    return launcher.parent


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _account(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return -1
