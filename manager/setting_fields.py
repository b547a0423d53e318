"""Every setting there is: its name, default, limits, unit and help, as one frozen record.

A setting has one name everywhere: ``IDLE_TIMEOUT`` in the file and the environment is
``settings.idle_timeout`` here. ``settings`` fills it; the documents are generated from it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from manager.care_fields import CareFields
from manager.cluster_fields import ClusterFields
from manager.ports import DEFAULT_PORTS, PortRow
from manager.setting_kinds import (
    Choice,
    Count,
    Networks,
    Origin,
    PathIn,
    Paths,
    Seconds,
    Switch,
    Text,
    setting,
)
from manager.sign_in_fields import SignInFields

PRINTED, RANDOM, FROM_FILE = "known", "random", "file"
"""Where the first admin's password comes from."""


@dataclass(frozen=True)
class Settings(CareFields, ClusterFields, SignInFields):
    """Everything an operator may change. Paths are absolute once loaded."""

    origins: ClassVar[Mapping[str, Origin]] = {}
    """Where values came from, by the names of those that are not left at their default.

    What ``load`` gives has its own; it is no setting, so it is neither compared nor written.
    """

    isolation: str = setting(
        Choice("auto", "directories", "user", "sandbox"),
        "auto",
        "How users' ComfyUI are kept apart. auto: the highest that works here, on Ascend at most "
        "user; any other that does not work refuses to start.",
    )
    landlock: str = setting(
        Choice("auto", "off"),
        "auto",
        "Landlock, added to each level where the kernel has it. off: where a driver fails with it.",
    )
    isolation_uid_base: int = setting(
        Count(1000, 4_000_000_000),
        2_001_000_000,
        "With isolation user or sandbox as root, user n runs as account number base + n.",
    )
    shared_readable: tuple[Path, ...] = setting(
        Paths(),
        (),
        "More folders that every ComfyUI may read, such as models below /home or /root.",
    )
    shared_writable: tuple[Path, ...] = setting(
        Paths(), (), "Folders outside of their own that every ComfyUI may write."
    )
    instance_memory_max: int = setting(
        Count(0, 1 << 30), 0, "Memory that one instance may take. 0: no limit.", "MiB"
    )
    instance_processes_max: int = setting(
        Count(0, 1 << 20), 0, "Processes and threads that one instance may have. 0: no limit."
    )
    instance_open_files: int = setting(
        Count(0, 1 << 20), 0, "Files that one process may have open. 0: as the manager may."
    )
    instance_nice: int = setting(
        Count(0, 19), 5, "How far instances stand back for other programs' use of the processor."
    )
    instance_oom_score_adj: int = setting(
        Count(0, 1000), 500, "How much sooner than others an instance is ended without memory left."
    )
    card_kind: str = setting(
        Choice("auto", "ascend", "cuda", "rocm", "cpu"),
        "auto",
        "What the cards are. auto: the first of npu-smi, nvidia-smi, rocm-smi found, else cpu.",
    )
    card_sample_interval: float = setting(
        Seconds(0.5, 3600),
        5.0,
        "Time between two looks at the cards; BUSY_SLOWDOWN times as long on a busy machine.",
        "s",
    )
    card_tool_timeout: float = setting(
        Seconds(0.5, 120),
        10.0,
        "Time the driver's tool has for one look; after that nothing is known of the cards.",
        "s",
    )
    busy_cpu_percent: int = setting(
        Count(0, 100),
        85,
        "Use of all processors from which the machine is busy: pages are updated and cards looked "
        "at more rarely then; the check of each queue never is. 0: not counted.",
        "%",
    )
    busy_load: int = setting(
        Count(0, 1000),
        4,
        "Load average for each processor from which the machine is busy, too. 0: not counted.",
    )
    busy_slowdown: int = setting(
        Count(1, 8),
        4,
        "How many times more rarely that is done while the machine is busy. 1: as often as ever.",
    )
    caddy_path: str = setting(
        Text(), "", "Caddy program. Empty: the one installed with the requirements."
    )
    caddyfile: Path = setting(
        PathIn(), Path("Caddyfile"), "Caddyfile whose managed block the manager rewrites."
    )
    database_path: Path = setting(PathIn(), Path("comfyui_manager.db"), "SQLite file.")
    database_pool_size: int = setting(Count(1, 64), 4, "Connections for reading.")
    log_path: Path = setting(PathIn(), Path("manager.log"), "The manager's log file.")
    log_format: str = setting(
        Choice("text", "json"),
        "text",
        "How a line of the manager's log is written: for people, or as one JSON object.",
    )
    data_dir: Path = setting(
        PathIn(), Path("data"), "Folder for workspaces, instance logs, Caddy's state and the key."
    )
    instance_log_max_bytes: int = setting(
        Count(65_536, 1 << 30), 10 << 20, "Size at which an instance's log is rotated.", "bytes"
    )
    disk_use_interval: int = setting(
        Count(0, 604_800),
        900,
        "Time between two walks through a user's folders to tell what they take, at least; only "
        "where something may have changed. 0: never.",
        "s",
    )
    session_hours: int = setting(Count(1, 720), 12, "Time a login lasts.", "h")
    session_idle_minutes: int = setting(
        Count(0, 43_200),
        0,
        "Time after which a login ends that nothing was asked with; a page that is only open asks "
        "nothing. 0: it lasts SESSION_HOURS.",
        "min",
    )
    admin_networks: tuple[str, ...] = setting(
        Networks(),
        (),
        "Networks from which admins have an admin's rights; from elsewhere they are users like "
        "all others. Empty: from everywhere.",
    )
    first_admin_password: str = setting(
        Choice(PRINTED, RANDOM, FROM_FILE),
        PRINTED,
        "Password of the account admin that the first start makes. known: the one in the README. "
        "random: made and shown once by start. file: the line in FIRST_ADMIN_PASSWORD_FILE. Each "
        "has to be changed at the first login.",
    )
    first_admin_password_file: Path = setting(
        PathIn(),
        Path("first_admin_password"),
        "With FIRST_ADMIN_PASSWORD = file: file with that password, for the manager's account "
        "alone. Not needed any more after the first start.",
    )
    admin_second_factor: str = setting(
        Choice("optional", "required"),
        "optional",
        "Whether admins must log in with a code of their phone, too. required: who has not set it "
        "up is led to it at his login, and has no admin's rights before.",
    )
    api_token_days_max: int = setting(
        Count(0, 3650),
        365,
        "Longest time for which users may make an API token; those made for longer end with it. "
        "0: there are none.",
        "d",
    )
    usage_keep_days: int = setting(
        Count(0, 36_500),
        0,
        "Days for which ended sessions of use are kept, with what they were used for. 0: for ever.",
        "d",
    )
    cookie_secure: bool = setting(
        Switch(),
        False,
        "Another HTTPS stands in front of manager and gates: links say https, cookies are Secure.",
    )
    metrics_networks: tuple[str, ...] = setting(
        Networks(),
        (),
        "Networks that may read /metrics without the token in DATA_DIR/metrics_token.",
    )
    async_mode: str = setting(
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

    @property
    def https(self) -> bool:
        """Tell whether visitors come by HTTPS, the gates' own or one in front of them."""
        return self.cookie_secure or self.tls != "off"

    def row(self, port: int) -> PortRow:
        """Give the table's row for a ComfyUI port.

        Raises:
            KeyError: the table has no such port.
        """
        return self._rows[port]

    @cached_property
    def _rows(self) -> Mapping[int, PortRow]:
        return {row.port: row for row in self.ports}
