"""A week played through the manager's own lifecycle, line, scheduler and SQLite store.

Launcher, gate and ComfyUI are stand-ins, and both clocks are set. From outside it is noted who
holds what, so that the ledger against which double holds are found is not the manager's own.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from pathlib import Path

from bench.week import ENDING, Week, Wish
from bench.week_ledger import Asked, Outcome, Scenario
from manager import scheduler
from manager.errors import NoFreeCard
from manager.records import Instance, User
from manager.states import State
from manager.web.places import rounded
from tests.support.house import House
from tests.support.stand_ins import IDLE

MONDAY = 1_795_392_000.0
"""2026-11-23 00:00 UTC."""

FIRST_PORT = 8001


class Simulation:
    """One run of one scenario."""

    def __init__(self, folder: Path, of: Week, scenario: Scenario, users: int, cards: int) -> None:
        """Build the house and the accounts, and note when everybody will come."""
        ports = [FIRST_PORT + number for number in range(cards)]
        table = ",".join(f"{p}:{p + 1000}:{p + 2000}:{n + 1}" for n, p in enumerate(ports))
        self.scenario = scenario
        self.house = House(folder, PORTS=table, LINE_START=scenario.line_start)
        self.lifecycle = self.house.lifecycle
        self.settings = self.house.settings
        self.outcome = Outcome()
        self.users: list[User] = [
            self.house.user(f"user{number}", of.ports.get(number) if scenario.assigned else None)
            for number in range(users)
        ]
        self._number = {user.id: number for number, user in enumerate(self.users)}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._now = 0.0
        self._waiting: dict[int, Asked] = {}
        self._holding: dict[int, tuple[int, float]] = {}
        self._offers: dict[int, tuple[int, float]] = {}
        for wish in of.wishes:
            self._at(wish.at, lambda wish=wish: self._comes(wish))  # type: ignore[misc]

    def run(self) -> Outcome:
        """Let everything happen, to the last end."""
        while self._events:
            at, _, happens = heapq.heappop(self._events)
            self.house.pass_time(at - self._now)
            self._now = at
            happens()
            self._serve()
        self.outcome.starved += len(self._waiting)
        self.house.close()
        return self.outcome

    def _at(self, at: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), happens))

    # People.

    def _comes(self, wish: Wish) -> None:
        if wish.user in self._waiting or self._has_card(wish.user):
            self.outcome.busy_already += 1
            return
        asked = Asked(wish)
        self.outcome.asked.append(asked)
        self._tries(asked)

    def _has_card(self, number: int) -> bool:
        return any(holder == number for holder, _ in self._holding.values())

    def _tries(self, asked: Asked) -> None:
        number = asked.wish.user
        if number in self._waiting or self._has_card(number):
            asked.over = "came again meanwhile"
            return
        try:
            row = self.lifecycle.start(self.users[number])
        except NoFreeCard:
            self._joins(asked)
        else:
            self._started(row, asked, there=self._now)

    def _turn_comes(self, asked: Asked) -> None:
        asked.turn_at = self._now
        if asked.first_turn is None and asked.joined_at is not None:
            asked.first_turn = self._now - asked.joined_at

    def _joins(self, asked: Asked) -> None:
        user = self.users[asked.wish.user]
        self.lifecycle.line.join(user)
        asked.joined_at, asked.turn_at = self._now, None
        asked.attempt += 1
        self._waiting[asked.wish.user] = asked
        if asked.attempt == 1:
            asked.shown = self._estimate(user)
        attempt = asked.attempt
        self._at(self._now + asked.wish.patience, lambda: self._loses_patience(asked, attempt))

    def _estimate(self, user: User) -> tuple[float, float] | None:
        found = scheduler.estimates(
            self.lifecycle.instances(),
            self.lifecycle.line.all(),
            self.lifecycle.unavailable,
            self.lifecycle.line.lengths(),
            self.house.clock.now,
        ).get(user.id)
        if found is None:
            return None
        shown = rounded(*found)
        unit = 3600.0 if shown["form"].endswith("hours") else 60.0
        return shown["low"] * unit, shown["high"] * unit

    def _loses_patience(self, asked: Asked, attempt: int) -> None:
        number = asked.wish.user
        if self._waiting.get(number) is not asked or asked.attempt != attempt or asked.turn_at:
            return
        user = self.users[number]
        self.lifecycle.line.leave(user.id, by=user)
        del self._waiting[number]
        asked.over = "left"

    def _takes(self, asked: Asked, attempt: int) -> None:
        """Press start, if the turn is still his."""
        number = asked.wish.user
        if self._waiting.get(number) is asked and asked.attempt == attempt and asked.turn_at:
            self._started(self.lifecycle.start(self.users[number]), asked, there=self._now)

    def _misses(self, asked: Asked) -> None:
        del self._waiting[asked.wish.user]
        self._returns(asked)

    def _returns(self, asked: Asked) -> None:
        self.outcome.missed_turns += 1
        later = asked.wish.comes_back(asked.attempt)
        if later is None:
            asked.over = "missed"
        else:
            self._at(self._now + later, lambda: self._tries(asked))

    def _notices(self, asked: Asked) -> float:
        return 0.0 if self.scenario.attentive else asked.wish.notices(asked.attempt)

    # The manager's side, seen from outside.

    def _serve(self) -> None:
        """Have the watch look at the line, and see what that changed."""
        self.lifecycle.serve_line()
        if self.scenario.line_start == "automatic":
            for row in self.lifecycle.holding():
                if row.port not in self._holding and row.user_id is not None:
                    asked = self._waiting[self._number[row.user_id]]
                    self._turn_comes(asked)
                    self._started(row, asked, there=self._now + self._notices(asked))
        if not self._waiting:
            return
        offers = {
            self._number[one.user_id]: one.offered_port
            for one in self.lifecycle.line.all()
            if one.offered_port is not None
        }
        for number in [number for number in self._offers if number not in offers]:
            _, since = self._offers.pop(number)
            self.outcome.kept += self._now - since
            waits = self._waiting.get(number)
            if waits is not None:
                place = self.lifecycle.line.of_user(self.users[number].id)
                if place is None or place.missed_at is not None:
                    self._misses(waits)
                else:
                    waits.turn_at = None
        for number, port in offers.items():
            if number not in self._offers and self.scenario.line_start == "claim":
                self._offered(number, port)

    def _offered(self, number: int, port: int) -> None:
        asked, limit = self._waiting[number], self.settings.claim_timeout
        self._offers[number] = (port, self._now)
        self._turn_comes(asked)
        attempt, notices = asked.attempt, self._notices(asked)
        if notices < limit:
            self._at(self._now + notices, lambda: self._takes(asked, attempt))
        self._at(self._now + limit + 0.01, lambda: None)

    def _started(self, row: Instance, asked: Asked, *, there: float) -> None:
        """Note a start, by whomever it was begun; ``there`` is when its user is there."""
        number = asked.wish.user
        if row.port in self._holding or self._has_card(number):
            self.outcome.double_holds += 1
        self._waiting.pop(number, None)
        if number in self._offers:
            self.outcome.kept += self._now - self._offers.pop(number)[1]
        self._look_for_the_passed_over(row, asked)
        self._holding[row.port] = (number, self._now)
        self.outcome.sessions += 1
        if math.isfinite(there):
            asked.started_at = there
        self.house.comfyui.answers[row.port] = IDLE
        self.house.step(row.port)
        ready = self._now + asked.wish.boot
        self._at(ready, lambda: self._ready(row.port))
        idle = float(self.settings.idle_timeout)
        if there >= ready + idle:
            self._at(ready + idle, lambda: self._ends(row.port, left=True))
            self.outcome.wasted += asked.wish.boot + idle
            asked.started_at = None
            self._at(ready + idle, lambda: self._returns(asked))
            return
        done = max(ready, there) + asked.wish.work
        left = asked.wish.left_idle
        self._at(done + (idle if left else 0.0), lambda: self._ends(row.port, left=left))

    def _look_for_the_passed_over(self, row: Instance, asked: Asked) -> None:
        came = self._now if asked.joined_at is None else asked.joined_at
        for other in self._waiting.values():
            assigned = self.users[other.wish.user].assigned_port
            earlier = came - (came if other.joined_at is None else other.joined_at)
            if other.turn_at is None and earlier > 0 and assigned in (None, row.port):
                self.outcome.passed_over += 1
                self.outcome.longest_pass = max(self.outcome.longest_pass, earlier)

    def _ready(self, port: int) -> None:
        if self.house.step(port) != "ready":
            raise RuntimeError(f"port {port} is not ready")

    def _ends(self, port: int, *, left: bool) -> None:
        row = self.house.row(port)
        if left:
            self.lifecycle.stop_if_idle(row)
        else:
            user = self.users[self._number[row.user_id or 0]]
            self.lifecycle.stop(port, by=user, reason="user")
        self._at(self._now + ENDING, lambda: self._gone(row))

    def _gone(self, row: Instance) -> None:
        self.house.launcher.end(row.launch_id or "", 0)
        self.house.step(row.port)
        if self.house.row(row.port).state is not State.IDLE:
            raise RuntimeError(f"port {row.port} is not free")
        _, since = self._holding.pop(row.port)
        self.outcome.held += self._now - since
