"""The command line and environment of one ComfyUI, or of the demo where there is none.

Looks for files, changes nothing. Directories, port and card come from the caller; every flag of
isolation is given always, whatever ComfyUI's own defaults are.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from manager.comfyui_flags import explain, forbidden_flags
from manager.errors import LaunchFailed
from manager.launcher.processes import MARKER
from manager.launcher.protocol import GUARD
from manager.launcher.pythons import homes
from manager.ports import PortRow
from manager.settings import ROOT, Settings, names

DEMO = ROOT / "demo" / "main.py"

CARD_VARIABLES = {
    "ascend": "ASCEND_RT_VISIBLE_DEVICES",
    "cuda": "CUDA_VISIBLE_DEVICES",
    "rocm": "HIP_VISIBLE_DEVICES",
}
"""What the drivers' runtimes read; ``cpu`` has none. ROCR_VISIBLE_DEVICES renumbers below HIP's
and stays as the operator set it (ROCm documentation, "GPU isolation techniques")."""

_SECRET = re.compile(
    # TOKENIZERS_PARALLELISM and its like are no tokens.
    r"SECRET|PASSW|(^|_)TOKENS?(_|$)|CREDENTIAL|API_?KEY|PRIVATE_KEY|ACCESS_KEY",
    re.IGNORECASE,
)
_PERSONAL = frozenset(
    {
        # Ways to the operator's own agents and keys.
        *("SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_AGENT_INFO", "GNUPGHOME", "KRB5CCNAME"),
        *("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XAUTHORITY", "DISPLAY"),
        # The operator's own places; a user's programs find theirs below HOME.
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "MAIL", "OLDPWD"),
        # systemd's channels to the manager.
        *("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC"),
        *("WATCHDOG_PID", "CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM"),
        # The manager's own Python.
        *("VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "__PYVENV_LAUNCHER__"),
    }
)
_OURS = ("MANAGER_", "EVENTLET_", "PYTHON", "WERKZEUG_", "FLASK_")


class Directories(Protocol):
    """What is used of a user's workspace."""

    @property
    def input(self) -> Path:
        """Uploaded images."""

    @property
    def output(self) -> Path:
        """Results."""

    @property
    def temp(self) -> Path:
        """Previews; ComfyUI wipes ``temp/temp`` at every start."""

    @property
    def user(self) -> Path:
        """Settings, workflows and the database."""

    @property
    def home(self) -> Path:
        """What libraries keep for later, such as downloaded models."""


@dataclass(frozen=True)
class Command:
    """What is run. ``env`` is the whole environment and holds no secret.

    ``readable`` is what it cannot do without: its own folder, its Python's, and the guard's.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    demo: bool
    readable: tuple[Path, ...] = ()


def build_command(
    settings: Settings,
    row: PortRow,
    card_kind: str,
    workspace: Directories,
    launch_id: str,
    environ: Mapping[str, str] | None = None,
) -> Command:
    """Put together how one instance is started.

    Args:
        settings: where ComfyUI is, with which Python and which extra flags.
        row: port and device.
        card_kind: ``ascend``, ``cuda``, ``rocm`` or ``cpu``.
        workspace: the user's directories, which must exist.
        launch_id: carried in the environment as the marker.
        environ: the environment to start from; the manager's own when left out.

    Raises:
        LaunchFailed: no Python can be found, or COMFYUI_ARGS holds a flag that is not allowed.
    """
    refused = forbidden_flags(settings.comfyui_args)
    if refused:
        reasons = "; ".join(explain(word) for word in refused)
        raise LaunchFailed(f"COMFYUI_ARGS may not hold {reasons}")
    env = clean_environment(os.environ if environ is None else environ)
    demo = settings.demo
    if demo:
        program, script, cwd = sys.executable, DEMO, DEMO.parent
    else:
        cwd = settings.comfyui_path
        program, script = _find_python(settings, env), cwd / "main.py"
    env.update(_card(row, card_kind))
    env |= _own_places(env, workspace)
    # Unbuffered, or the last lines before a crash never reach the log.
    env |= {MARKER: launch_id, "PYTHONUNBUFFERED": "1"}
    argv = (program, str(script), *_arguments(row, card_kind, workspace), *settings.comfyui_args)
    return Command(argv, env, cwd, demo, needed(program, cwd, env))


def what_runs(settings: Settings) -> tuple[str, tuple[Path, ...]]:
    """Give the Python of the instances and what it must be able to read.

    Where none can be found, the manager's own stands in: each start will say what is missing.
    """
    env = clean_environment(os.environ)
    env |= {"PYTHONUSERBASE": _user_packages(os.environ)}
    if settings.demo:
        return sys.executable, needed(sys.executable, DEMO.parent, env)
    try:
        python = _find_python(settings, env)
    except LaunchFailed:
        python = sys.executable
    return python, needed(python, settings.comfyui_path, env)


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Copy an environment without the manager's settings, its Python's, and what looks secret.

    Variables of the drivers (CANN, CUDA) pass. So does PYTHONPATH without our own entries: CANN's
    ``set_env.sh`` puts the packages into it that ``torch_npu`` needs.
    """
    known = {*names(), *_PERSONAL}
    env = {
        name: value
        for name, value in environ.items()
        if name not in known and not name.startswith(_OURS) and not _SECRET.search(name)
    }
    for name in ("PATH", "PYTHONPATH"):
        entries = [entry for entry in environ.get(name, "").split(os.pathsep) if entry]
        entries = [entry for entry in entries if not _is_ours(entry)]
        if entries:
            env[name] = os.pathsep.join(entries)
    env.setdefault("PATH", os.defpath)
    return env


def _own_places(env: Mapping[str, str], workspace: Directories) -> dict[str, str]:
    """Give what leads programs to the user's own folders and name.

    An account without an entry in /etc/passwd has neither, and PyTorch asks for both (Python
    documentation, ``getpass.getuser``, ``os.path.expanduser``). Packages that the operator has
    installed with ``pip install --user`` stay in use.
    """
    packages = _user_packages(env)
    kept = {"PYTHONUSERBASE": packages} if packages else {}
    name = workspace.home.parent.name
    places = {"HOME": str(workspace.home), "TMPDIR": str(workspace.temp)}
    return {**kept, **places, "USER": name, "LOGNAME": name}


def _user_packages(env: Mapping[str, str]) -> str:
    packages = os.path.join(env.get("HOME", "/nonexistent"), ".local")  # noqa: PTH118
    # Unlike Path.is_dir, this does not raise where the folder may not be entered.
    there = os.path.isdir(os.path.join(packages, "lib"))  # noqa: PTH112, PTH118
    return packages if there else ""


def needed(program: str, cwd: Path, env: Mapping[str, str]) -> tuple[Path, ...]:
    """List the folders a ComfyUI must be able to read, none of them twice.

    Models and custom nodes that are linked in from elsewhere are for the operator to name.
    """
    entries = [*env.get("PYTHONPATH", "").split(os.pathsep), env.get("PYTHONUSERBASE", "")]
    packages = [Path(entry) for entry in entries if entry]
    named = [path for path in packages if path.is_absolute() and path != Path(path.anchor)]
    folders = (cwd, cwd.resolve(), GUARD.parent.resolve(), *homes(program), *named)
    return tuple(dict.fromkeys(folders))


def _is_ours(entry: str) -> bool:
    path = Path(entry)
    in_venv = sys.prefix != sys.base_prefix and path.is_relative_to(sys.prefix)
    return in_venv or path.is_relative_to(ROOT)


def _find_python(settings: Settings, env: Mapping[str, str]) -> str:
    if settings.comfyui_python:
        wanted = str(Path(settings.comfyui_python).expanduser())
        found = shutil.which(wanted, path=env["PATH"])
        if found is None:
            raise LaunchFailed(
                f"COMFYUI_PYTHON = {settings.comfyui_python!r} is no program that may be run: "
                "give the full path of the Python that has ComfyUI's packages"
            )
        return found
    for folder in ("venv", ".venv"):
        found = shutil.which(settings.comfyui_path / folder / "bin" / "python")
        if found:
            return str(found)
    found = shutil.which("python3", path=env["PATH"])
    if found is None:
        raise LaunchFailed(
            f"no Python for ComfyUI: there is no venv or .venv in {settings.comfyui_path} and no "
            "python3 on PATH; set COMFYUI_PYTHON"
        )
    return found


def _card(row: PortRow, card_kind: str) -> dict[str, str]:
    variable = CARD_VARIABLES.get(card_kind)
    # Of a card elsewhere the engine alone says which one it is.
    if variable is None or row.node is not None:
        return {}
    # nvidia-smi counts by PCI bus, CUDA by speed unless told (CUDA programming guide, "CUDA
    # Environment Variables"): with unlike cards device 1 would be another card.
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if card_kind == "cuda" else {}
    return {variable: str(row.device), **order}


def _arguments(row: PortRow, card_kind: str, workspace: Directories) -> list[str]:
    """Give the flags every instance gets (ComfyUI's ``comfy/cli_args.py``)."""
    return [
        *("--listen", "127.0.0.1", "--port", str(row.port)),
        *("--input-directory", str(workspace.input)),
        *("--output-directory", str(workspace.output)),
        *("--temp-directory", str(workspace.temp)),
        *("--user-directory", str(workspace.user)),
        # Shared by default in some versions, and newer ones refuse to start on a shared one.
        *("--database-url", f"sqlite:///{workspace.user / 'comfyui.db'}"),
        # Also keeps the page from calling the internet, which many such servers do not reach.
        "--disable-api-nodes",
        *(["--cpu"] if card_kind == "cpu" else []),
    ]
