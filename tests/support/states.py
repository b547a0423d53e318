"""Every face that a user's page can have, made of the real views over rooms kept in memory."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from manager.allowance import Blocked, TimeLeft
from manager.counts import DiskUse
from manager.notices import Maintenance
from manager.permits import UserLimits
from manager.progress import Progress
from manager.records import Restart, Unfinished, Usage
from manager.states import State
from manager.web import views
from tests.support.web import NOW, House, Reading, instance

ADDRESS = views.Address("127.0.0.1")
WORK = Progress(
    launch_id="launch-8001",
    told=True,
    prompt=2,
    class_type="KSampler",
    title="A sampler with quite a long title that its owner gave it",
    step=5,
    steps=20,
    percent=42,
    finished=3,
    nodes=8,
    seconds=61.7,
    progressed_at=0.0,
)
LONG_LINE = "RuntimeError: " + "no_word_boundary_anywhere_" * 8
EVIDENCE = {
    "idle_seconds": 600,
    "limit": 600,
    "worked_at": NOW,
    "used_at": NOW,
    "card_at": None,
    "unknown": ["card"],
}

Json = dict[str, Any]


def user_states(folder: Path) -> Iterator[tuple[str, Json]]:
    """Give each face's name and the state behind it; each begins from an empty house."""
    for name, arrange in ARRANGED.items():
        house = House(folder, EXTEND_BY="1800", KEEP_AWAKE_MAX="14400")
        arrange(house)
        yield name, views.user_state(house, house.accounts.user(house.ann.id), ADDRESS, 0)


def _holds(state: State, **seen: Any) -> Callable[[House], None]:
    def arrange(house: House) -> None:
        house.lifecycle.put(8001, state, house.ann)
        house.watch.readings[8001] = Reading(**seen)

    return arrange


def _works(house: House) -> None:
    _holds(State.RUNNING, running=1, pending=3)(house)
    still = time.monotonic() - 900
    house.follower.known[8001] = dataclasses.replace(WORK, progressed_at=still)


def _soon_over(house: House) -> None:
    _holds(State.RUNNING, idle_seconds=580, idle_left=20, idle_warns=True)(house)
    house.lifecycle.limits.times[8001] = TimeLeft(500, "session", 800)
    house.lifecycle.unfinished.rows = [Unfinished("l1", house.ann.id, NOW, 4, 2)]


def _ended(reason: str, **told: Any) -> Callable[[House], None]:
    def arrange(house: House) -> None:
        plain = Usage("l1", house.ann.id, "ann", 8001, 1, NOW, NOW, NOW + 5, reason, "exit code 1")
        house.lifecycle.usages[house.ann.id] = dataclasses.replace(plain, **told)
        house.lifecycle.log = "a line of the log\n" * 30 + LONG_LINE
        if reason == "died":
            house.lifecycle.restarts[house.ann.id] = Restart(house.ann.id, 8001, 11.2, 1, 3)

    return arrange


def _full(house: House) -> None:
    for port in house.lifecycle.rows:
        house.lifecycle.put(port, State.RUNNING, house.bob)


def _waits(**place: Any) -> Callable[[House], None]:
    def arrange(house: House) -> None:
        _full(house)
        house.lifecycle.line.put(house.ann, **place)
        if "offered_port" in place:
            house.lifecycle.rows[place["offered_port"]] = instance(place["offered_port"])

    return arrange


def _blocked(reason: str) -> Callable[[House], None]:
    def arrange(house: House) -> None:
        limits = house.lifecycle.limits
        limits.own[house.ann.id] = UserLimits(house.ann.id, day_limit=3600, session_limit=7200)
        limits.blocks[house.ann.id] = Blocked(reason, time.time() + 3600)

    return arrange


def _disk_full(house: House) -> None:
    house.accounts.all[house.ann.id] = dataclasses.replace(house.ann, workspace="2-ann-ab")
    house.lifecycle.limits.own[house.ann.id] = UserLimits(house.ann.id, disk_limit=1024)
    use = DiskUse(house.ann.id, NOW, 1.0, {"output": 3 << 30, "home": 1 << 30}, True)
    house.disk.known[house.ann.id] = use
    house.lifecycle.limits.blocks[house.ann.id] = Blocked("disk", used=4 << 30, limit=1 << 30)


def _reserved(house: House) -> None:
    for port in house.lifecycle.rows:
        house.lifecycle.reservations.reserve(port, (), NOW * 2, "new fans", by=house.admin)


def _no_port(house: House) -> None:
    house.accounts.all[house.ann.id] = dataclasses.replace(house.ann, assigned_port=9)


def _maintained(house: House) -> None:
    house.lifecycle.maintenance.one = Maintenance("admin", NOW, NOW + 1e9, "New fans")


def _held_back(house: House) -> None:
    house.lifecycle.unavailable = dict.fromkeys(house.lifecycle.rows, "memory is not back")


ARRANGED: dict[str, Callable[[House], None]] = {
    "idle": lambda _house: None,
    "starting": _holds(State.STARTING, stage="loading"),
    "running": _holds(State.RUNNING, idle_seconds=12, idle_left=588),
    "working": _works,
    "soon over": _soon_over,
    "hung": _holds(State.RUNNING, responding=False, hung_since=NOW, running=1, pending=0),
    "stopping": _holds(State.STOPPING),
    "failed": _ended("died", fault_kind="python_error", fault_line=LONG_LINE, exit_code=1),
    "failed, no reason known": _ended("overdue"),
    "ended for idleness": _ended("idle", evidence=json.dumps(EVIDENCE)),
    "full": _full,
    "waiting": _waits(),
    "turn": _waits(offered_port=8002),
    "missed": _waits(missed_at=NOW),
    "day used": _blocked("day"),
    "no sessions": _blocked("sessions"),
    "disk full": _disk_full,
    "reserved": _reserved,
    "held back": _held_back,
    "no port": _no_port,
    "maintenance": _maintained,
}
