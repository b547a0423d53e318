"""The idle verdict: histories of every kind, and what it says of each signal."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manager.cards.reading import CardProcess
from manager.cards.reading import Reading as CardReading
from manager.cards.sampler import CardState
from manager.comfyui import QueueAnswer, Work
from manager.errors import Conflict
from manager.idle import AWAKE, CARD, EXTENDED, QUEUE, SILENCE, WORKSPACE, Evidence, Rules, judge
from manager.idleness import at_work
from manager.records import Address
from manager.states import State
from tests.support.house import House
from tests.support.stand_ins import BUSY, IDLE, UNKNOWN

LIMIT = 60
RULES = Rules(limit=600, signals=(WORKSPACE, CARD), signals_max=7200, warning=80)
QUIET = Evidence(busy=False, answered=True, idle=300)
GARBAGE = QueueAnswer(Work.UNKNOWN, problem="not a queue")


@pytest.mark.parametrize(
    ("evidence", "by", "left"),
    [
        (QUIET, "", 300),
        (replace(QUIET, idle=600), "", 0),
        (replace(QUIET, idle=900), "", 0),
        (replace(QUIET, busy=True, idle=900), QUEUE, None),
        (replace(QUIET, answered=False, idle=900), SILENCE, None),
        (replace(QUIET, answered=False, idle=900, held=5.0, holder=AWAKE), SILENCE, None),
        (replace(QUIET, idle=900, ages={WORKSPACE: 20.0}), WORKSPACE, 580),
        (replace(QUIET, idle=900, ages={WORKSPACE: 50.0, CARD: 20.0}), CARD, 580),
        (replace(QUIET, ages={WORKSPACE: 400.0}), "", 300),
        (replace(QUIET, idle=900, unknown=(WORKSPACE,)), "", 0),
        (replace(QUIET, idle=7199, ages={WORKSPACE: 1.0}), WORKSPACE, 599),
        (replace(QUIET, idle=7200, ages={WORKSPACE: 1.0}), "", 0),
        (replace(QUIET, idle=900, held=30.0, holder=EXTENDED), EXTENDED, 30),
        (replace(QUIET, idle=300, held=30.0, holder=EXTENDED), "", 300),
        (replace(QUIET, idle=9000, held=30.0, holder=AWAKE), AWAKE, 30),
    ],
)
def test_what_holds_a_session_and_how_long_is_left(
    evidence: Evidence, by: str, left: float | None
) -> None:
    verdict = judge(evidence, RULES)
    assert (verdict.by, verdict.left, verdict.over) == (by, left, left == 0)
    assert verdict.unknown == evidence.unknown


def test_signs_that_were_not_asked_for_do_not_count() -> None:
    seen = replace(QUIET, idle=900, ages={WORKSPACE: 1.0})
    assert judge(seen, replace(RULES, signals=(CARD,))).over
    assert not judge(replace(seen, idle=9000), replace(RULES, signals_max=0)).over


def test_the_warning_comes_at_its_part_of_the_limit() -> None:
    assert not judge(replace(QUIET, idle=479), RULES).warns
    assert judge(replace(QUIET, idle=480), RULES).warns
    assert judge(replace(QUIET, idle=900, held=120.0, holder=EXTENDED), RULES).warns
    assert not judge(replace(QUIET, idle=900, held=121.0, holder=EXTENDED), RULES).warns
    assert not judge(replace(QUIET, idle=599), replace(RULES, warning=100)).warns


OURS = CardProcess(4001, 1 << 30)
STRANGER = CardProcess(77, 1 << 30)


@pytest.mark.parametrize(
    ("percent", "processes", "foreign", "expected"),
    [
        (80.0, (OURS,), (), True),
        (10.0, (OURS,), (), True),
        (9.0, (OURS,), (), False),
        (80.0, None, (), True),
        (80.0, (), (), False),
        (80.0, (OURS, STRANGER), (STRANGER,), False),
        (None, (OURS,), (), False),
    ],
)
def test_a_card_is_at_work_for_its_instance_only_when_nobody_else_is_on_it(
    percent: float | None,
    processes: tuple[CardProcess, ...] | None,
    foreign: tuple[CardProcess, ...],
    expected: bool,
) -> None:
    seen = CardReading(0, utilisation=percent, processes=processes)
    assert at_work(CardState(seen, 0.0, seen, 0.0, foreign=foreign)) is expected


class AtOnce:
    """Runs what it is given here and now: a thousand histories are many looks."""

    def submit(self, work: Callable[..., object], *args: object) -> None:
        work(*args)


class Scene:
    """A house whose clocks the test moves, one port of it running."""

    now = 0.0

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **environ: str) -> None:
        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: 1e6 + self.now)
        monkeypatch.setattr("manager.watch.time", clock)
        self.house = House(
            tmp_path,
            **{"IDLE_TIMEOUT": str(LIMIT), "MAX_WORKERS": "2"} | environ,
        )
        self.house.watch._idleness._wall = clock.time
        # No tool is here to ask; what it would say the test sets.
        self.house.watch._idleness._signals = {WORKSPACE, CARD}
        pool: Any = AtOnce()
        self.house.watch._checks = self.house.watch._moves = pool
        self.user = self.house.user("ann", 8001)
        self.port = self.house.run(self.user).port
        self.house.gate.used[self.port] = 5.0
        self.second()

    def second(self, answer: QueueAnswer = IDLE, last: QueueAnswer | None = None) -> None:
        """Let a second pass; ``last`` is what the queue says when asked once more."""
        self.now += 1.0
        self.house.clock.now = 1e6 + self.now
        self.house.monotonic.now = self.now
        self.house.comfyui.answers[self.port] = answer
        if last is not None:
            self.house.comfyui.then[self.port] = last
        self.house.watch.tick(self.now)

    def use(self) -> None:
        self.house.gate.used[self.port] = 1e6 + self.now

    def compute(self, percent: float | None) -> None:
        """Have the card seen at so much use."""
        seen = CardReading(
            0, utilisation=percent, processes=(OURS,), unknown="" if percent else "?"
        )
        known = seen if percent is not None else None
        state = CardState(seen, self.now, known, self.now)
        self.house.sampler._states[self.house.settings.row(self.port).device] = state

    @property
    def state(self) -> State:
        return self.house.row(self.port).state

    @property
    def left(self) -> float | None:
        reading = self.house.watch.reading(self.port)
        assert reading is not None
        return reading.idle_left

    @property
    def by(self) -> str:
        reading = self.house.watch.reading(self.port)
        assert reading is not None
        return reading.idle_by

    def close(self) -> None:
        self.house.close()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene(tmp_path, monkeypatch)
    yield made
    made.close()


def _history(scene: Scene, dice: random.Random) -> tuple[int, int]:
    """Live through one history; give how often it was stopped, and how often with work."""
    wrong = stops = 0
    kinds = [IDLE, BUSY, UNKNOWN, GARBAGE]
    if dice.random() < 0.7:
        # What was seen and asked for in the history before is long over.
        scene.house.watch._tracks[scene.port].signs.clear()
        scene.house.lifecycle.grants._until.clear()
    for _ in range(dice.randint(3, 14)):
        answer = dice.choices(kinds, weights=[8, 2, 1, 1])[0]
        last = dice.choice([None, None, *kinds])
        step = dice.random()
        if step < 0.05:
            scene.use()
        elif step < 0.1:
            scene.compute(dice.choice([0.0, 50.0, None]))
        elif step < 0.15:
            with contextlib.suppress(Conflict):
                scene.house.lifecycle.grants.extend(scene.user, scene.left)
        if dice.random() < 0.5:
            # Near the limit is where it matters.
            track = scene.house.watch._tracks[scene.port]
            track.idle_seconds = float(dice.choice([LIMIT - 2, LIMIT, LIMIT + 50]))
        asked = len(scene.house.comfyui.asked)
        scene.second(answer, last)
        if scene.state is State.STOPPING:
            stops += 1
            # The last question of all decided, and it was asked with the gate closed.
            heard = scene.house.comfyui.asked[asked:]
            said = answer if len(heard) == 1 else (last or answer)
            wrong += said.work is not Work.IDLE or answer.work is not Work.IDLE or len(heard) < 2
            return stops, wrong
    return stops, wrong


def test_no_history_of_a_thousand_ends_an_instance_that_has_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, monkeypatch, EXTEND_MOST="1000", EXTEND_BY="20")
    dice = random.Random(20_240_607)
    stops = wrong = 0
    for _ in range(1000):
        found = _history(scene, dice)
        stops, wrong = stops + found[0], wrong + found[1]
        if scene.state is State.STOPPING:
            scene.house.launcher.end(scene.house.row(scene.port).launch_id or "", -15)
            scene.second()
            scene.house.comfyui.then.clear()
            scene.house.run(scene.user)
        scene.second(BUSY)
    scene.close()
    assert wrong == 0
    assert stops > 100, "the histories must reach the stop"


@pytest.mark.parametrize("limit", [5, 60])
def test_one_that_is_idle_throughout_is_ended_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    scene = Scene(tmp_path, monkeypatch, IDLE_TIMEOUT=str(limit))
    seconds = 0
    while scene.state is State.RUNNING:
        scene.second()
        seconds += 1
        assert seconds <= limit + 2
    assert seconds >= limit - 1
    scene.close()


def test_use_of_the_workspace_holds_it_and_then_no_more(scene: Scene) -> None:
    for second in range(LIMIT + 10):
        if second == LIMIT - 5:
            scene.use()
        scene.second()
    assert (scene.by, scene.left) == (WORKSPACE, LIMIT - 15)
    for _ in range(LIMIT - 15):
        scene.second()
    assert scene.state is State.STOPPING


def test_a_clock_that_is_set_neither_holds_nor_ends_it(scene: Scene) -> None:
    for _ in range(30):
        scene.second()
    # A stamp of the future, and one of long ago: new ones both, so both were a second ago.
    for stamp in (9e9, 3.0):
        scene.house.gate.used[scene.port] = stamp
        scene.second()
        left = scene.left
        assert left is not None
        assert left >= LIMIT - 1
    for _ in range(LIMIT):
        scene.second()
    assert scene.state is State.STOPPING


def test_a_card_that_computes_holds_it(scene: Scene) -> None:
    for _ in range(LIMIT + 10):
        scene.compute(40.0)
        scene.second()
    assert (scene.state, scene.by) == (State.RUNNING, CARD)
    for _ in range(LIMIT + 1):
        scene.compute(0.0)
        scene.second()
    assert scene.state is State.STOPPING


def test_what_cannot_tell_is_named_and_not_waited_for(scene: Scene) -> None:
    del scene.house.gate.used[scene.port]
    scene.second()
    reading = scene.house.watch.reading(scene.port)
    assert reading is not None
    assert reading.idle_unknown == (WORKSPACE, CARD)
    for _ in range(LIMIT):
        scene.second()
    assert scene.state is State.STOPPING


def test_what_happens_at_the_last_question_keeps_it(scene: Scene) -> None:
    real, happens = scene.house.comfyui.queue, iter([scene.use, _extend_of(scene)])

    def queue(address: Address | None, secret: str | None, *, fresh: bool = False) -> QueueAnswer:
        asked = scene.house.comfyui.asked
        if len(asked) % 2 == 1 and scene.house.watch._tracks[scene.port].idle_seconds >= LIMIT:
            next(happens, lambda: None)()
        return real(address, secret, fresh=fresh)

    scene.house.comfyui.queue = queue  # type: ignore[method-assign]
    track = scene.house.watch._tracks[scene.port]
    for _ in range(2):
        track.idle_seconds = float(LIMIT)
        track.signs.clear()
        scene.house.comfyui.asked.clear()
        scene.second()
        assert scene.state is State.RUNNING
        assert scene.house.gate.open


def _extend_of(scene: Scene) -> Callable[[], None]:
    def extend() -> None:
        scene.house.lifecycle.grants.extend(scene.user, 1.0)

    return extend


def test_an_extension_in_the_very_moment_of_the_stop_wins(scene: Scene) -> None:
    grants = scene.house.lifecycle.grants
    row = scene.house.row(scene.port)

    def last_word() -> dict[str, object]:
        # Committed by a request whose thread has not come further.
        before = dict(grants._until), dict(grants._known)
        grants.extend(scene.user, 1.0)
        grants._until, grants._known = before
        return {}

    scene.house.lifecycle.stop_if_idle(row, last_word)
    assert scene.state is State.RUNNING
    assert scene.house.gate.open


def test_the_receipt_stands_in_the_audit_and_with_the_session(scene: Scene) -> None:
    scene.use()
    while scene.state is State.RUNNING:
        scene.second()
    entry = scene.house.store.read(lambda t: t.audit.latest(1))[0]
    usage = scene.house.lifecycle.last_usage(scene.user.id)
    assert usage is not None
    assert usage.evidence
    assert entry.detail == f"running->stopping idle {usage.evidence}"
    for word in (
        '"limit":60',
        '"running":0',
        '"pending":0',
        '"used_at":1000001',
        '"unknown":["card"]',
    ):
        assert word in usage.evidence


def test_keeping_a_queue_never_holds_up_a_stop_for_long(scene: Scene) -> None:
    scene.house.lifecycle.unfinished.spawn = lambda work: None
    scene.house.lifecycle.stop(scene.port, by=scene.user, reason="user")
    for _ in range(4):
        assert scene.house.step(scene.port) == "saving"
        scene.house.monotonic.now += 1.0
    assert scene.house.step(scene.port) == "ending"
    # What that took is not taken from the time for a polite end.
    scene.house.monotonic.now += scene.house.settings.stop_timeout - 1.5
    scene.house.pass_a_second()
    scene.house.step(scene.port)
    assert {force for _, force in scene.house.launcher.stops} == {False}
