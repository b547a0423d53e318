"""The faults of the soak: each is what happens to a server in a bad week."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable

import psutil

from bench.soak.ledger import Ledger
from manager import identity
from manager.identity import Identity
from manager.launcher.run_dir import RunDir
from tests.support.chaos import rows
from tests.support.clocked import Clock
from tests.support.server import READY_S, ManagerProcess
from tests.support.waiting import wait_until

HOUR = 3600.0
WRONG_BY = (0.0, 60.0, -60.0, HOUR, -HOUR, 5 * HOUR, -5 * HOUR)
DISK_FULL_S = 3.0


class Faults:
    """Does one fault after another to one manager."""

    def __init__(self, manager: ManagerProcess, clock: Clock, ledger: Ledger, seed: int) -> None:
        """Bind."""
        self._manager = manager
        self._clock = clock
        self._ledger = ledger
        self._chance = random.Random(seed)
        self.done: Counter[str] = Counter()

    def one(self, *, of_the_house: bool) -> None:
        """Do a fault; ``of_the_house``: it may also hit the manager or Caddy themselves."""
        own: list[Callable[[], bool]] = [self.instance, self.instance, self.supervisor]
        every = [*own, self.clock, self.disk]
        if of_the_house:
            every += [self.manager, self.manager, self.caddy, self.caddy]
        fault = self._chance.choice(every)
        if fault():
            self.done[fault.__name__] += 1

    def manager(self) -> bool:
        """Kill the manager; systemd starts it again."""
        begun = time.monotonic()
        self._manager.kill()
        time.sleep(self._chance.uniform(0, 3))
        self._manager.spawn()
        wait_until(self._manager.health, READY_S, "the manager answers")
        self._ledger.unsure.append((begun, time.monotonic()))
        return True

    def caddy(self) -> bool:
        """Kill Caddy."""
        record = json.loads((self._manager.data_dir / "caddy" / "caddy.json").read_text("utf-8"))
        try:
            process = psutil.Process(int(record["pid"]))
            if "caddy" not in process.name():
                return False
            process.kill()
        except psutil.NoSuchProcess:
            return False
        return True

    def instance(self) -> bool:
        """Kill somebody's ComfyUI."""
        return self._kill(1)

    def supervisor(self) -> bool:
        """Kill the supervisor of somebody's ComfyUI, which goes on."""
        return self._kill(0)

    def clock(self) -> bool:
        """Set the wall clock."""
        self._clock.set(self._chance.choice(WRONG_BY))
        return True

    def disk(self) -> bool:
        """Have the manager write no byte for some seconds, as on a full disk."""
        assert self._manager.process is not None
        pid, begun = self._manager.process.pid, time.monotonic()
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
        time.sleep(DISK_FULL_S)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        self._ledger.unsure.append((begun, time.monotonic()))
        return True

    def _kill(self, which: int) -> bool:
        running = [row for row in rows(self._manager) if row["status"] == "running"]
        if not running:
            return False
        launch_id = str(self._chance.choice(running)["launch_id"])
        found = RunDir(self._manager.data_dir / "runs" / launch_id).identities()[which]
        if not isinstance(found, Identity) or not identity.alive(found):
            return False
        if which:
            self._ledger.killed[launch_id] = time.monotonic()
        os.kill(found.pid, signal.SIGKILL)
        return True
