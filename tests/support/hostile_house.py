"""A manager whose users' instances hold a hostile custom node, and what that one was able to do.

``Program`` is a copy of the program with a Python that every account may run: at the levels with
accounts of their own neither a checkout nor a Python below a closed folder would do.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from manager import identity
from manager.launcher import landlock
from manager.launcher.isolation import DIRECTORIES, SANDBOX, USER
from tests.support.client import Client, Workspace, first_admin, new_user
from tests.support.demo import FOLDERS, IMAGE
from tests.support.ports import free_port
from tests.support.real_comfyui import python_for_all
from tests.support.server import ROOT, ManagerProcess
from tests.support.waiting import wait_until

HOSTILE = ROOT / "tests" / "support" / "hostile"
PARTS = ("manager", "demo", "locales", "static", "templates")
ACCOUNT = 2_000_999_000
"""An account without a name and without rights, for a manager that is not root."""

PATIENCE_S = 240.0
"""For a real ComfyUI on a busy machine; the demo takes a second."""


@dataclass(frozen=True)
class Case:
    """One way of isolation: level, ABI of Landlock (0: switched off), and who runs the manager."""

    level: str
    landlock: int
    root: bool

    def __str__(self) -> str:
        words = [
            self.level,
            "landlock" if self.landlock else "",
            "root" if self.root else "account",
        ]
        return "-".join(filter(None, words))

    @property
    def settings(self) -> dict[str, str]:
        return {"ISOLATION": self.level, "LANDLOCK": "auto" if self.landlock else "off"}

    @property
    def account(self) -> int | None:
        return ACCOUNT if os.geteuid() == 0 and not self.root else None


def cases() -> list[Case]:
    """List what can be tried on this machine."""
    abis = sorted({0, landlock.abi()})
    am_root = os.geteuid() == 0
    found = []
    for root in (True, False) if am_root else (False,):
        boxes = [] if why_no_box(root=root) else [SANDBOX]
        levels = [DIRECTORIES, *([USER] if root else []), *boxes]
        found += [Case(level, abi, root) for level in levels for abi in abis]
    return found


def why_no_box(*, root: bool) -> str:
    """Say why bubblewrap cannot be used; empty when it can."""
    program = shutil.which("bwrap")
    if program is None:
        return "bubblewrap is not installed"
    words = [program, "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc"]
    other = {} if root or os.geteuid() != 0 else {"user": ACCOUNT, "group": ACCOUNT}
    done = subprocess.run([*words, "/bin/true"], cwd="/", capture_output=True, check=False, **other)  # type: ignore[call-overload]
    return "" if done.returncode == 0 else done.stderr.decode() or "bubblewrap does not work"


@dataclass(frozen=True)
class Program:
    """A copy of the program and of the hostile node below ``base``, and a Python for all."""

    base: Path

    @property
    def python(self) -> Path:
        return self.base / "venv" / "bin" / "python"

    @property
    def hostile(self) -> Path:
        return self.base / "nodes" / "hostile"

    @property
    def source(self) -> Path:
        return self.base / "program"


@contextlib.contextmanager
def program_for_all() -> Iterator[Program]:
    base = Path(tempfile.mkdtemp(prefix="hostile-"))
    base.chmod(0o755)
    try:
        made = Program(base)
        unwanted = shutil.ignore_patterns("__pycache__")
        for part in PARTS:
            shutil.copytree(ROOT / part, made.source / part, ignore=unwanted)
        for name in ("comfyui_manager.py", "Caddyfile"):
            shutil.copy(ROOT / name, made.source / name)
        shutil.copytree(HOSTILE, made.hostile, ignore=unwanted)
        pip = [str(made.python), "-m", "pip", "install", "-q", "-r"]
        subprocess.run([_python_for_all(), "-m", "venv", base / "venv"], check=True)
        subprocess.run([*pip, ROOT / "requirements.lock"], check=True, capture_output=True)
        let_all_read(base)
        yield made
    finally:
        shutil.rmtree(base)


def _python_for_all() -> str:
    return python_for_all((3, 10)) if os.geteuid() == 0 else os.path.realpath(sys.executable)


def let_all_read(base: Path) -> None:
    for folder, _, files in os.walk(base):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o444)


def _own(folder: Path, account: int | None) -> None:
    """Let the manager's account own the program, as one that was cloned by it."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, account or 0, account or 0, follow_symlinks=False)


@dataclass
class Persons:
    """Two users at work: Mallory's instance is hostile, Victor's is what it is after."""

    manager: ManagerProcess
    mallory: Client
    victor: Client
    ports: tuple[int, int]
    gate: Workspace

    def folder(self, name: str) -> Path:
        return next(self.manager.data_dir.glob(f"workspaces/*-{name}-*"))

    def run_dir(self, port: int) -> Path:
        for meta in self.manager.data_dir.glob("runs/*/meta"):
            if json.loads(meta.read_text())["port"] == port and not (meta.parent / "gone").exists():
                return meta.parent
        raise AssertionError(f"no launch for port {port}")


@contextlib.contextmanager
def persons(program: Program, case: Case, **settings: str) -> Iterator[Persons]:
    """Run a manager with two users whose instances run; afterwards nothing may be left."""
    folder = Path(tempfile.mkdtemp(prefix="house-", dir=program.base))
    folder.chmod(0o711)
    node = [f"--demo-custom-node={program.hostile}", "--demo-zero-boot"]
    settings = {
        "SHARED_READABLE": str(program.hostile),
        "COMFYUI_ARGS": shlex.join(node),
        **case.settings,
        **settings,
    }
    words = [str(program.python), str(program.source / "comfyui_manager.py")]
    manager = ManagerProcess(folder, rows=3, settings=settings, program=words, account=case.account)
    _own(program.source, case.account)
    with contextlib.ExitStack() as stack:
        stack.enter_context(manager)
        admin = stack.enter_context(first_admin(manager))
        people = [stack.enter_context(new_user(admin, name)) for name in ("mallory", "victor")]
        for person in people:
            person.post("/api/user/start")
        shown = [_running(person) for person in people]
        gate = Workspace(shown[1]["workspace_url"])
        stack.callback(gate.close)
        assert gate.post("/prompt", {"prompt": IMAGE}).ok
        own = Workspace(shown[0]["workspace_url"])
        stack.callback(own.close)
        own.session.headers["Authorization"] = "Basic bm86Ym9keQ=="
        assert own.get("/queue").ok
        ports = (shown[0]["port"], shown[1]["port"])
        try:
            yield Persons(manager, people[0], people[1], ports, gate)
        finally:
            for port in ports:
                Path(f"/dev/shm/comfyui-hostile-{port}").unlink(missing_ok=True)


def _running(person: Client) -> dict[str, Any]:
    def running() -> dict[str, Any] | None:
        state = person.state()
        assert state["phase"] in {"starting", "running"}, state
        return state["instance"] if state["phase"] == "running" else None

    return wait_until(running, PATIENCE_S, "the instance runs") or {}


def _who(pid: int) -> list[int]:
    found = identity.read(pid)
    assert found is not None
    return [found.pid, found.start_ticks]


def _comfyui(run_dir: Path, port: int) -> list[int]:
    """Find the process that listens, below whatever stands around it."""
    supervisor = json.loads((run_dir / "record").read_text())["supervisor"][0]
    for process in reversed(psutil.Process(supervisor).children(recursive=True)):
        if any(at.laddr.port == port for at in process.net_connections("tcp")):
            return _who(process.pid)
    raise AssertionError(f"nobody listens on {port}")


def targets(house: Persons, tmp_file: Path) -> dict[str, Any]:
    """Write down what there is to be got at, and make sure that it is there."""
    manager = house.manager
    data, (own, victim) = manager.data_dir, house.ports
    output = house.folder("victor") / "output"
    image = wait_until(lambda: next(output.glob("*.png"), None), PATIENCE_S, "a picture")
    assert manager.process is not None
    row = manager.ports.index(victim)
    (free,) = set(manager.ports) - {own, victim}
    caddy = json.loads((data / "caddy" / "caddy.json").read_text())
    source = Path(manager.program[-1]).parent
    comfyui = source / "demo" if "--demo" in manager.env["COMFYUI_ARGS"] else None
    comfyui = comfyui or Path(manager.env["COMFYUI_PATH"])
    supervisor = json.loads((house.run_dir(own) / "record").read_text())["supervisor"]
    found: dict[str, Any] = {
        "victim_file": str(image),
        "victim_folder": str(output),
        "victim_port": victim,
        "victim_secret": str(house.run_dir(victim) / "secret"),
        "victim": _comfyui(house.run_dir(victim), victim),
        "database": manager.env["DATABASE_PATH"],
        "caddyfile": str(manager.caddyfile),
        "keys": [str(data / "secret_key"), str(data / "caddy" / "admin_key")],
        "admin_socket": str(data / "caddy" / "admin.sock"),
        "manager": _who(manager.process.pid),
        "caddy": _who(caddy["pid"]),
        "supervisor": _who(supervisor[0]),
        "programs": [str(comfyui / "main.py"), str(source / "manager" / "cli.py")],
        "free_port": free,
        "gate_ports": [manager.workspace_ports[row], manager.external_ports[row]],
        "gate_path": "/",
        "tmp_file": str(tmp_file),
        "hidden_lock": str(house.folder("mallory") / "output" / "hidden"),
    }
    files = [found[name] for name in ("victim_secret", "database", "caddyfile", "admin_socket")]
    for path in [*files, *found["keys"], *found["programs"]]:
        assert Path(path).exists(), path
    return found


def attack(house: Persons, tmp_file: Path) -> dict[str, Any]:
    """Let Mallory's node try everything, then stop it; give its report."""
    wanted = targets(house, tmp_file)
    own = house.folder("mallory")
    _write(own / "input" / "hostile.json", json.dumps(wanted))
    report = own / "output" / "hostile-report.json"
    wait_until(report.exists, PATIENCE_S, "the node's report")
    found: dict[str, Any] = json.loads(report.read_text())
    house.mallory.post("/api/user/stop")
    house.mallory.until_gone()
    _settle_hidden(found, Path(wanted["hidden_lock"]))
    return found


def _settle_hidden(report: dict[str, Any], lock: Path) -> None:
    """Put down whether the hidden process is left, and end it."""
    if held_by(lock):
        psutil.Process(int(lock.read_text())).kill()
        wait_until(lambda: not held_by(lock), PATIENCE_S, "the hidden process has ended")
    elif report["outcomes"]["outlive_stop"] == ["succeeded", ""]:
        report["outcomes"]["outlive_stop"] = ["blocked", "ESRCH"]


@contextlib.contextmanager
def file_in_tmp() -> Iterator[Path]:
    """Give a file that some other program has left for everybody in /tmp."""
    number, name = tempfile.mkstemp(prefix="left-by-another-", dir="/tmp")
    os.write(number, b"x")
    os.fchmod(number, 0o644)
    os.close(number)
    try:
        yield Path(name)
    finally:
        Path(name).unlink()


def held_by(lock: Path) -> bool:
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.rename(path)


def outside(program: Program, case: Case, house: Persons, tmp_file: Path) -> dict[str, Any]:
    """Let the same code try the same as a plain program of the manager's account, unguarded.

    So each attempt is seen to be able to succeed: what it knocks at here lets it in.
    """
    folder = Path(tempfile.mkdtemp(prefix="outside-", dir=program.base))
    port = free_port()
    words = [str(program.python), str(program.source / "demo" / "main.py"), "--demo-zero-boot"]
    words += ["--listen", "127.0.0.1", "--port", str(port)]
    words += [f"--demo-custom-node={program.hostile}"]
    for name in FOLDERS:
        (folder / name).mkdir()
        words += [f"--{name}-directory", str(folder / name)]
    for path in (folder, *folder.iterdir()):
        os.chown(path, case.account or os.geteuid(), -1)
    link = house.gate.session.cookies
    wanted = targets(house, tmp_file) | {
        "victim_port": port,
        "gate_path": f"/?{link.keys()[0]}={link.values()[0]}",
        "hidden_lock": str(folder / "output" / "hidden"),
    }
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **house.manager._as_account(),
        )
    report, lock = folder / "output" / "hostile-report.json", Path(wanted["hidden_lock"])
    try:

        def asked() -> bool:
            with contextlib.suppress(requests.ConnectionError):
                url = f"http://127.0.0.1:{port}/queue"
                return requests.get(url, headers={"Cookie": "a=b"}, timeout=10).ok
            return False

        wait_until(asked, PATIENCE_S, "the demo answers")
        _write(folder / "input" / "hostile.json", json.dumps(wanted))
        wait_until(report.exists, PATIENCE_S, f"the report; {(folder / 'log').read_text()}")
    finally:
        child.kill()
        child.wait()
        Path(f"/dev/shm/comfyui-hostile-{port}").unlink(missing_ok=True)
    found: dict[str, Any] = json.loads(report.read_text())
    _settle_hidden(found, lock)
    return found
