"""Every setting there is: its name, default, limits, unit and help, as one frozen record.

A setting has one name everywhere: ``IDLE_TIMEOUT`` in the file and the environment is
``settings.idle_timeout`` here. ``settings`` fills it; the documents are generated from it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manager.ports import DEFAULT_PORTS, PortRow
from manager.setting_kinds import (
    Choice,
    Count,
    Flags,
    Host,
    Kind,
    PathIn,
    Paths,
    Seconds,
    Switch,
    Text,
)

ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - a server's pages are for other machines


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
    isolation: str = _setting(
        Choice("auto", "directories", "user", "sandbox"),
        "auto",
        "How users' ComfyUI are kept apart. auto: the highest that works here, on Ascend at most "
        "user; any other that does not work refuses to start.",
    )
    landlock: str = _setting(
        Choice("auto", "off"),
        "auto",
        "Landlock, added to each kind of isolation where the kernel has it. off: where a driver "
        "does not work with it.",
    )
    isolation_uid_base: int = _setting(
        Count(1000, 4_000_000_000),
        2_001_000_000,
        "With isolation user or sandbox as root, user n runs as account number base + n.",
    )
    shared_readable: tuple[Path, ...] = _setting(
        Paths(),
        (),
        "More folders that every ComfyUI may read, such as models below /home or /root.",
    )
    shared_writable: tuple[Path, ...] = _setting(
        Paths(), (), "Folders outside of their own that every ComfyUI may write."
    )
    instance_memory_max: int = _setting(
        Count(0, 1 << 30), 0, "Memory that one instance may take. 0: no limit.", "MiB"
    )
    instance_processes_max: int = _setting(
        Count(0, 1 << 20), 0, "Processes and threads that one instance may have. 0: no limit."
    )
    instance_open_files: int = _setting(
        Count(0, 1 << 20), 0, "Files that one process may have open. 0: as the manager may."
    )
    instance_nice: int = _setting(
        Count(0, 19), 5, "How far instances stand back for other programs' use of the processor."
    )
    instance_oom_score_adj: int = _setting(
        Count(0, 1000), 500, "How much sooner than others an instance is ended without memory left."
    )
    card_kind: str = _setting(
        Choice("auto", "ascend", "cuda", "rocm", "cpu"),
        "auto",
        "What the cards are. auto: the first of npu-smi, nvidia-smi, rocm-smi found, else cpu.",
    )
    card_sample_interval: float = _setting(
        Seconds(0.5, 3600),
        5.0,
        "Time between two looks at the cards by their driver's tool; four times as long while the "
        "machine is busy.",
        "s",
    )
    card_tool_timeout: float = _setting(
        Seconds(0.5, 120),
        10.0,
        "Time the driver's tool has for one look; after that nothing is known of the cards.",
        "s",
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
