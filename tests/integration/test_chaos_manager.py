"""``kill -9`` of the manager at random moments while four users start, work and stop."""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.chaos import SETTINGS, User, account, rows, settle
from tests.support.client import first_admin, new_user
from tests.support.server import READY_S, ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

KILLS = int(os.environ.get("CHAOS_KILLS", "30"))
"""200 is the full measure: CHAOS_KILLS=200, some minutes."""

SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
USERS = 4
LONGEST_LIFE_S = 3.0
"""From its start, or from its first answer: that may come late on a busy machine, and were each
killed before, nobody could do anything."""


def _live(manager: ManagerProcess, chance: random.Random) -> None:
    """Let a manager live for a while that nobody knows before."""
    if chance.random() < 0.5:
        wait_until(manager.health, READY_S, "the manager answers")
    time.sleep(chance.uniform(0.0, LONGEST_LIFE_S))


@pytest.mark.timeout(60 + 8 * KILLS)
def test_no_kill_of_the_manager_loses_or_leaves_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, rest = random.Random(SEED), threading.Event()
    with ExitStack() as stack:
        manager = ManagerProcess(tmp_path, rows=USERS, settings=SETTINGS)
        stack.enter_context(manager)
        admin = stack.enter_context(first_admin(manager))
        clients = [stack.enter_context(new_user(admin, f"u{n}")) for n in range(USERS)]
        users = [User(client, SEED + n, rest) for n, client in enumerate(clients)]
        stack.callback(rest.set)
        began = time.monotonic()
        for user in users:
            user.start()
        for number in range(KILLS):
            _live(manager, chance)
            manager.kill()
            if number < KILLS - 1:
                manager.spawn()
        took = time.monotonic() - began
        manager.start()
        rest.set()
        for user in users:
            user.join(60)
        settle(manager)
        wrong = account(manager, set().union(*(user.tally.links for user in users)))
        wrong += [line for user in users for line in user.tally.lost]
        overview = admin.get("/api/admin/overview")
        wrong += [str(one) for one in (*overview["leftovers"], *overview["quarantine"])]
        done = [(u.tally.starts, u.tally.prompts, u.tally.stops) for u in users]
        counts = tuple(map(sum, zip(*done, strict=True)))
        running = sum(row["status"] == "running" for row in rows(manager))
        with capsys.disabled():
            print(  # noqa: T201 - the count is what the test is for
                f"\nchaos: seed {SEED}, {KILLS} kills in {took:.0f} s; starts, prompts, stops: "
                f"{counts}; running at the end: {running}; "
                f"interrupted by Caddy: {sum(u.tally.interrupted for u in users)}; "
                f"wrong: {len(wrong)}"
            )
        assert not wrong, f"seed {SEED}\n" + "\n".join(wrong) + manager.told()
        assert min(counts) > 0
