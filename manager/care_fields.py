"""The settings of what looks after a house for years: who is told what, and room on the disk.

A part of ``Settings``; see ``setting_fields``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from manager.alerts import EVENTS
from manager.setting_kinds import Choice, Count, PathIn, Words, setting


@dataclass(frozen=True)
class CareFields:
    """What admins are told of by webhook, and how much room users' files may take for how long."""

    webhooks_file: Path = setting(
        PathIn(),
        Path("webhooks.toml"),
        "File with the webhooks that are told when something needs an admin; mode 600, for their "
        "addresses are secrets. Where there is none nobody is told.",
    )
    alert_language: str = setting(
        Choice("en", "zh_CN"), "en", "Language of what webhooks are told, unless they name another."
    )
    alert_events: tuple[str, ...] = setting(
        Words(*EVENTS), EVENTS, "What webhooks are told of, unless they name it themselves."
    )
    alert_full_minutes: int = setting(
        Count(0, 10_080),
        15,
        "Time after which ports_full is told: nobody who comes now would get a card. 0: never.",
        "min",
    )
    alert_line_length: int = setting(
        Count(0, 10_000),
        5,
        "Users in the line above which line_long is told after 5 minutes. 0: never.",
    )
    alert_disk_free: int = setting(
        Count(0, 1 << 20),
        10,
        "Free space where users' files are below which disk_low is told. 0: never.",
        "GiB",
    )
    disk_soft_limit: int = setting(
        Count(0, 1 << 30),
        0,
        "What a user's folders may take. From 90 % on the user is warned; above it the user can "
        "start nothing more, what runs goes on and nothing is deleted. Needs DISK_USE_INTERVAL. "
        "0: no limit.",
        "MiB",
    )
    backup_every_hours: int = setting(
        Count(0, 8760),
        24,
        "Hours between two backups that the manager makes by itself, into "
        "DATA_DIR/backups/scheduled and without users' files. 0: it makes none.",
        "h",
    )
    backup_keep: int = setting(
        Count(1, 10_000), 7, "How many of these backups stay, the newest; older ones are removed."
    )
    retention_days: int = setting(
        Count(0, 36_500),
        0,
        "Days after which files in users' output and temp folders are moved into the trash of the "
        "workspace, and go for good 7 days later; never while the user's ComfyUI runs. "
        "0: they are kept for ever.",
        "d",
    )
