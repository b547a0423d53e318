"""Settings: one frozen record, filled once from defaults, then ``manager.toml``, then environment.

A setting has one name everywhere: ``IDLE_TIMEOUT`` in the file and the environment is
``settings.idle_timeout`` here. Each field carries its unit, its limits and its help as metadata;
the documents are generated from them. An unknown name or a value that is not allowed refuses to
start and says the name, the value and what is allowed. Imports nothing that eventlet must patch.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manager.errors import SettingsError
from manager.ports import DEFAULT_PORTS, PortRow, check_ports, read_ports
from manager.setting_kinds import Choice, Count, Flags, Host, Kind, PathIn, Seconds, Switch, Text

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - Python 3.10 only
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
"""The folder the project was cloned into; relative paths in settings count from here."""

ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - a server's pages are for other machines

CONFIG_VARIABLE = "MANAGER_CONFIG"
"""Environment variable that names another file than ``manager.toml``."""


def _setting(kind: Kind, default: object, help_text: str, unit: str = "") -> Any:  # noqa: ANN401 - a field
    return field(default=default, metadata={"kind": kind, "help": help_text, "unit": unit})


@dataclass(frozen=True)
class Settings:
    """Everything an operator may change. Paths are absolute once loaded."""

    external_ip: str = _setting(
        Host(empty=True),
        "",
        "Address put into workspace links. Empty: the name the visitor's browser used.",
    )
    comfyui_path: Path = _setting(
        PathIn(),
        Path("/mnt/sdb1/ComfyUI"),
        "Folder with ComfyUI's main.py. Where there is none, the demo stands in.",
    )
    comfyui_python: str = _setting(
        Text(),
        "",
        "Python that runs ComfyUI. Empty: venv or .venv inside COMFYUI_PATH, else python3.",
    )
    comfyui_args: tuple[str, ...] = _setting(
        Flags(), (), "Extra flags for every ComfyUI, as on a command line."
    )
    manager_host: str = _setting(
        Host(),
        ALL_ADDRESSES,
        "Address the manager's own page listens on.",
    )
    manager_port: int = _setting(Count(1, 65535), 8880, "Port of the manager's own page.")
    gate_host: str = _setting(
        Host(),
        ALL_ADDRESSES,
        "Address the workspace and external ports listen on.",
    )
    idle_timeout: int = _setting(
        Count(1, 604_800), 600, "Time without work after which an instance is ended.", "s"
    )
    queue_check_interval: float = _setting(
        Seconds(0.1, 60), 1.0, "Time between two looks at an instance's queue.", "s"
    )
    max_workers: int = _setting(Count(2, 256), 8, "Queue checks under way at the same time.")
    start_timeout: int = _setting(
        Count(1, 7200), 300, "Time a starting ComfyUI has until it must answer.", "s"
    )
    stop_timeout: float = _setting(
        Seconds(0.1, 600), 5.0, "Time a ComfyUI has to end politely before it is killed.", "s"
    )
    hang_timeout: int = _setting(
        Count(0, 86_400),
        120,
        "Time without an answer after which a running ComfyUI is shown as hung. 0: never.",
        "s",
    )
    hang_action: str = _setting(
        Choice("show", "restart", "stop"),
        "show",
        "What is done with a hung ComfyUI whose processes do nothing; busy ones are left alone.",
    )
    restart_policy: str = _setting(
        Choice("never", "on-crash"),
        "never",
        "Whether a ComfyUI that crashed is started again, at most 3 times in 30 minutes.",
    )
    quarantine_after: int = _setting(
        Count(0, 3600),
        30,
        "Time a port or card may stay in use after its instance has ended, before the port is "
        "held back for an admin.",
        "s",
    )
    card_kind: str = _setting(
        Choice("auto", "ascend", "cuda", "rocm", "cpu"),
        "auto",
        "What the cards are. auto: the first of npu-smi, nvidia-smi, rocm-smi found, else cpu.",
    )
    caddy_path: str = _setting(
        Text(), "", "Caddy program. Empty: the one installed with the requirements."
    )
    caddyfile: Path = _setting(
        PathIn(), Path("Caddyfile"), "Caddyfile whose managed block the manager rewrites."
    )
    database_path: Path = _setting(PathIn(), Path("comfyui_manager.db"), "SQLite file.")
    database_pool_size: int = _setting(Count(1, 64), 4, "Connections for reading.")
    log_path: Path = _setting(PathIn(), Path("manager.log"), "The manager's log file.")
    data_dir: Path = _setting(
        PathIn(), Path("data"), "Folder for workspaces, instance logs, Caddy's state and the key."
    )
    instance_log_max_bytes: int = _setting(
        Count(65_536, 1 << 30), 10 << 20, "Size at which an instance's log is rotated.", "bytes"
    )
    session_hours: int = _setting(Count(1, 720), 12, "Time a login lasts.", "h")
    cookie_secure: bool = _setting(
        Switch(),
        False,
        "HTTPS stands in front of manager and gates: links say https, cookies are Secure.",
    )
    async_mode: str = _setting(
        Choice("eventlet", "threading"), "eventlet", "How the server runs its threads."
    )
    ports: tuple[PortRow, ...] = field(
        default=DEFAULT_PORTS,
        metadata={"kind": None, "unit": "", "help": "The port table, one row a card."},
    )

    @property
    def demo(self) -> bool:
        """Tell whether the demo stands in because COMFYUI_PATH has no main.py. Asked anew."""
        # Unlike Path.is_file, this does not raise where the folder may not be entered.
        return not os.path.isfile(self.comfyui_path / "main.py")  # noqa: PTH113

    def row(self, port: int) -> PortRow:
        """Give the table's row for a ComfyUI port.

        Raises:
            KeyError: the table has no such port.
        """
        for row in self.ports:
            if row.port == port:
                return row
        raise KeyError(port)


_FIELDS = {f.name.upper(): f for f in dataclasses.fields(Settings)}


def names() -> list[str]:
    """List every setting's name, for documents and the admin page."""
    return list(_FIELDS)


def describe(name: str) -> dict[str, str]:
    """Give a setting's help, unit and what is allowed, for documents and messages."""
    meta = _FIELDS[name].metadata
    kind = meta["kind"]
    allowed = kind.allowed if kind else "rows of port, external_port, workspace_port, card"
    return {"help": meta["help"], "unit": meta["unit"], "allowed": allowed}


def load(
    environ: Mapping[str, str] | None = None, config: Path | None = None, root: Path = ROOT
) -> Settings:
    """Read the settings in force.

    Args:
        environ: the environment; the process's own when left out.
        config: the TOML file; ``MANAGER_CONFIG`` or ``manager.toml`` beside the program else.
        root: where relative paths count from.

    Raises:
        SettingsError: names the setting, its value and what is allowed.
    """
    environ = os.environ if environ is None else environ
    named = environ.get(CONFIG_VARIABLE)
    path = config or (root / named if named else root / "manager.toml")
    values: dict[str, object] = {}
    for name, raw in _from_file(path, must_exist=bool(config or named)).items():
        values[name] = _parse(name, raw, str(path))
    for name in _FIELDS:
        if name in environ:
            values[name] = _parse(name, environ[name], "environment")
    _refuse_unknown_environment(environ)
    given: dict[str, Any] = {_FIELDS[name].name: value for name, value in values.items()}
    settings = Settings(**given)
    settings = _absolute(settings, root)
    check_ports(settings.ports, settings.manager_port)
    return settings


def _from_file(path: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise SettingsError(f"{CONFIG_VARIABLE}: there is no file {path}") from None
        return {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    for name in content:
        if name not in _FIELDS:
            raise SettingsError(f"{path}: unknown setting {name}; known are {', '.join(_FIELDS)}")
    return content


def _parse(name: str, raw: object, source: str) -> object:
    kind: Kind | None = _FIELDS[name].metadata["kind"]
    try:
        return kind.read(raw) if kind else read_ports(raw)
    except ValueError as error:
        allowed = describe(name)["allowed"]
        detail = f" ({error})" if str(error) else ""
        raise SettingsError(
            f"{name} = {raw!r} from {source} is not allowed{detail}; allowed: {allowed}"
        ) from error


def _refuse_unknown_environment(environ: Mapping[str, str]) -> None:
    for name in environ:
        if name.startswith("MANAGER_") and name not in _FIELDS and name != CONFIG_VARIABLE:
            known = ", ".join(n for n in _FIELDS if n.startswith("MANAGER_"))
            raise SettingsError(
                f"unknown setting {name} in the environment; known with MANAGER_ are {known}"
            )


def _absolute(settings: Settings, root: Path) -> Settings:
    paths: dict[str, Any] = {
        f.name: root / getattr(settings, f.name)
        for f in dataclasses.fields(settings)
        if isinstance(getattr(settings, f.name), Path)
    }
    return dataclasses.replace(settings, **paths)
