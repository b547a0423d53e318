"""What is learned of a card, what makes it busy, and that «unknown» never makes it free."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.cards import baseline, owners, sampler
from manager.cards.baseline import Baselines, above, busy, limit
from manager.cards.reading import MIB, CardProcess, Reading, Unreadable
from manager.cards.sampler import CardState, Sampler, left_behind
from tests.support.stand_ins import Clock

GIB = 1 << 30
TOTAL, IDLE = 64 * GIB, 3 * GIB
QUIET = Reading(0, "910B3", "ok", IDLE, TOTAL, 0.0, 40.0, 90.0, ())
ME = CardProcess(os.getpid(), GIB, "python")


class Cards:
    """A sampler over whatever the test says that the tool shows."""

    def __init__(self, folder: Path, *devices: int, **options: Any) -> None:
        self.clock = Clock()
        self.shown: list[Reading] | str = [replace(QUIET, device=n) for n in devices or (0,)]
        self.ours: set[int] = set()
        self.held: list[frozenset[int]] = []
        self.slowdown = 1
        self.sampler = Sampler(
            "ascend",
            list(devices or (0,)),
            folder,
            slowdown=lambda: self.slowdown,
            launch_of=lambda pid: "launch" if pid in self.ours else "",
            monotonic=self.clock,
            **options,
        )
        self.sampler.in_use = lambda: self.held.pop(0) if self.held else frozenset()

    def read(self, run: object) -> list[Reading]:
        if isinstance(self.shown, str):
            raise Unreadable(self.shown)
        return self.shown

    def look(self, *shown: Reading, held: bool = False, fails: str = "") -> CardState:
        """Have a look at what the tool shows now, and give the first card's state."""
        if shown or fails:
            self.shown = fails or list(shown)
        self.held = [frozenset({0}), frozenset({0})] if held else []
        self.clock.now += 5
        self.sampler.look()
        state = self.sampler.state(0)
        assert state is not None
        return state


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cards:
    made = Cards(tmp_path)
    monkeypatch.setitem(sampler.READERS, "ascend", made.read)
    # Numbers of processes count, also where the tests themselves run in a container.
    monkeypatch.setattr(made.sampler, "_host", True)
    return made


def _using(mib: int, *processes: CardProcess) -> Reading:
    return replace(QUIET, memory_used=IDLE + mib * MIB, processes=processes)


def test_idle_memory_is_learned_and_the_lowest_counts(cards: Cards) -> None:
    assert cards.look().baseline == IDLE
    assert cards.look(_using(100)).baseline == IDLE
    assert cards.look(_using(-50)).baseline == IDLE - 50 * MIB
    for _ in range(baseline.RECENT):
        state = cards.look(_using(200))
    assert (state.baseline, state.busy) == (IDLE + 200 * MIB, "")


@pytest.mark.parametrize(
    "shown",
    [
        _using(6 * 1024, ME),
        _using(10, ME),
        replace(QUIET, memory_used=None, memory_total=None),
        replace(QUIET, memory_used=TOTAL // 2),
    ],
)
def test_what_is_not_quiet_is_not_learned(cards: Cards, shown: Reading) -> None:
    assert cards.look(shown).baseline is None


def test_nothing_is_learned_while_an_instance_has_the_card(cards: Cards) -> None:
    assert cards.look(held=True).baseline is None
    # Also one that took it, or left it, while the tool was at work.
    cards.held = [frozenset(), frozenset({0})]
    cards.sampler.look()
    cards.held = [frozenset({0}), frozenset()]
    cards.sampler.look()
    state = cards.sampler.state(0)
    assert state is not None
    assert state.baseline is None
    assert cards.look().baseline == IDLE


def test_what_somebody_left_behind_is_never_learned_as_normal(cards: Cards) -> None:
    cards.look()
    for _ in range(3 * baseline.RECENT):
        state = cards.look(_using(9000))
    assert state.baseline == IDLE
    assert state.nobodys_memory
    assert "12072 MiB in use, 3072 MiB when idle" in state.busy


def test_an_admin_can_say_that_it_is_normal(cards: Cards) -> None:
    cards.look()
    cards.look(_using(9000))
    cards.sampler.accept(0)
    state = cards.look()
    assert (state.baseline, state.busy) == (IDLE + 9000 * MIB, "")
    assert cards.look(_using(0)).baseline == IDLE


def test_learned_values_outlive_the_manager_and_are_written_seldom(
    cards: Cards, tmp_path: Path
) -> None:
    path = tmp_path / "card_baselines.json"
    cards.look()
    before = path.stat()
    assert stat.S_IMODE(before.st_mode) == 0o600
    for mib in (10, -10, 20, -20):
        cards.look(_using(mib))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino
    assert Baselines(path, "ascend").get(0) == IDLE
    assert Baselines(path, "cuda").get(0) is None


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"kind": "ascend"}', '{"kind": "ascend", "devices": {"x": 1, "1": "2"}}'],
)
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "card_baselines.json"
    path.write_text(content, encoding="utf-8")
    assert Baselines(path, "ascend").get(1) is None


def test_a_disk_that_takes_nothing_stops_no_look(cards: Cards, tmp_path: Path) -> None:
    (tmp_path / "card_baselines.new").mkdir()
    assert cards.look().baseline == IDLE
    (tmp_path / "card_baselines.new").rmdir()
    cards.look()
    saved = json.loads((tmp_path / "card_baselines.json").read_text(encoding="utf-8"))
    assert saved["devices"] == {"0": IDLE}


def test_a_strangers_process_makes_a_free_card_busy(cards: Cards) -> None:
    cards.look()
    state = cards.look(_using(5000, ME))
    assert state.busy.startswith(f"in use by process {os.getpid()} (python, ")
    assert [one.pid for one in state.foreign] == [os.getpid()]
    assert state.foreign[0].owner
    assert state.since > 0
    assert cards.look(_using(0)).busy == ""


def test_our_own_process_is_no_stranger(cards: Cards) -> None:
    cards.look()
    cards.ours = {os.getpid()}
    state = cards.look(_using(5000, ME), held=True)
    assert (state.busy, state.foreign) == ("", ())
    cards.ours = set()
    # On a card that an instance has, a stranger is shown; whose the card is does not change.
    state = cards.look(_using(5000, ME), held=True)
    assert (state.busy, len(state.foreign)) == ("", 1)


def test_a_process_within_the_baseline_is_no_use(cards: Cards) -> None:
    cards.look()
    assert cards.look(_using(20, ME)).busy == ""
    # Without a baseline nobody knows whether it is.
    fresh = replace(QUIET, processes=(ME,))
    assert busy(fresh, (ME,), None)


def test_a_process_that_is_gone_is_not_counted_but_its_memory_is(cards: Cards) -> None:
    cards.look()
    ghost = CardProcess(2**22 + 7, 90 * MIB, "python")
    assert cards.look(_using(90, ghost)).busy == ""
    state = cards.look(_using(9000, ghost))
    assert state.foreign == ()
    assert state.nobodys_memory


def test_in_a_container_numbers_of_the_host_name_nobody() -> None:
    assert owners.named((ME,), host=False) == (replace(ME, pid=None),)
    inside = replace(ME, pid=99999, inside=os.getpid())
    (found,) = owners.named((inside,), host=False)
    assert found.pid == os.getpid()
    assert "outside of this container" in busy(_using(5000), (replace(ME, pid=None),), IDLE)


@pytest.mark.parametrize(
    ("health", "given"), [("ok", True), ("warning", True), ("alarm", False), ("critical", False)]
)
def test_a_sick_card_is_not_given_out(cards: Cards, health: str, given: bool) -> None:
    state = cards.look(replace(QUIET, health=health))
    assert (state.busy == "") is given
    assert health in state.busy or given


def test_unknown_makes_no_card_free(cards: Cards) -> None:
    cards.look()
    busy_one = cards.look(_using(5000, ME))
    silent = cards.look(fails="npu-smi did not answer within 10 s")
    assert silent.reading.unknown == "npu-smi did not answer within 10 s"
    assert silent.reading.memory_used is None
    assert (silent.busy, silent.foreign) == (busy_one.busy, busy_one.foreign)
    assert silent.known == busy_one.reading
    # It was ours meanwhile: what was seen before says nothing any more.
    assert cards.look(held=True).busy == ""


def test_a_card_that_the_tool_does_not_show_is_unknown(cards: Cards) -> None:
    state = cards.look(replace(QUIET, device=5))
    assert state.reading.unknown == "npu-smi shows no device 0, but 5"
    assert state.known is None


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), OSError("x")])
def test_a_reader_that_fails_makes_cards_unknown(
    cards: Cards, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(run: object) -> list[Reading]:
        raise error

    cards.look()
    monkeypatch.setitem(sampler.READERS, "ascend", broken)
    assert "makes no sense" in cards.look().reading.unknown


def test_memory_that_is_not_back_is_told(cards: Cards) -> None:
    cards.look()
    since = cards.clock.now
    state = cards.look(_using(9000), held=True)
    assert left_behind(state, since) == (
        "the memory of device 0 is not back: 12072 MiB in use, 3072 MiB when idle"
    )
    # Seen before the end it says nothing; within the tolerance it is back.
    assert left_behind(state, cards.clock.now) is None
    assert left_behind(cards.look(_using(500), held=True), since) is None


def test_memory_that_was_in_use_before_is_not_ours_to_bring_back(cards: Cards) -> None:
    cards.look()
    # A screen's programs, say: neither learned as idle nor anybody's computation.
    state = cards.look(_using(1500))
    assert (state.baseline, state.before, state.busy) == (IDLE, IDLE + 1500 * MIB, "")
    cards.look(_using(30000), held=True)
    since = cards.clock.now
    assert left_behind(cards.look(_using(4000), held=True), since)
    assert left_behind(cards.look(_using(1900), held=True), since) is None


def test_a_first_launch_on_a_card_in_use_must_bring_back_what_it_took(cards: Cards) -> None:
    assert cards.look(replace(QUIET, memory_used=TOTAL // 2)).baseline is None
    since = cards.clock.now
    assert left_behind(cards.look(_using(40000), held=True), since)


def test_a_tool_that_falls_silent_does_not_bring_memory_back(cards: Cards) -> None:
    cards.look()
    since = cards.clock.now
    cards.look(_using(9000), held=True)
    assert left_behind(cards.look(held=True, fails="slow"), since)


def test_where_nobody_can_tell_nothing_is_said(cards: Cards) -> None:
    assert left_behind(cards.look(_using(9000), held=True), 0.0) is None
    cards.look(QUIET)
    assert left_behind(cards.look(fails="slow", held=True), cards.clock.now - 1) is None
    nothing = replace(QUIET, memory_used=None, memory_total=None)
    assert left_behind(cards.look(nothing, held=True), 0.0) is None


def test_a_fresh_state_began_after_it_was_wanted(cards: Cards) -> None:
    assert cards.sampler.fresh(0, 0.0) is None
    cards.look()
    assert cards.sampler.fresh(0, cards.clock.now) is None
    assert cards.sampler.fresh(0, cards.clock.now - 1) is not None


def test_the_pause_grows_with_the_machines_load_and_the_tools_slowness(cards: Cards) -> None:
    assert cards.sampler.pause(0.1) == 5.0
    assert cards.sampler.pause(3.0) == 12.0
    cards.slowdown = 4
    assert cards.sampler.pause(0.1) == 20.0
    assert cards.sampler.pause(6.0) == 24.0


def test_each_look_is_told_to_who_keeps_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Reading] = []
    cards = Cards(tmp_path, note=lambda readings, _at: told.extend(readings))
    monkeypatch.setitem(sampler.READERS, "ascend", cards.read)
    cards.look(_using(5))
    cards.look(fails="slow")
    assert [one.memory_used for one in told] == [IDLE + 5 * MIB, None]
    assert told[1].unknown


def test_a_processor_is_neither_judged_nor_waited_for(tmp_path: Path) -> None:
    told: list[Reading] = []
    plain = Sampler("cpu", [0, 1], tmp_path, note=lambda readings, _at: told.extend(readings))
    plain.look()
    state = plain.state(1)
    assert state is not None
    assert (state.busy, state.baseline, plain.patience_s) == ("", None, 0.0)
    assert list(tmp_path.iterdir()) == []
    assert told == []


def test_the_loop_ends_when_told_and_looks_at_once_when_asked(cards: Cards) -> None:
    looked = threading.Event()
    asked: list[object] = []

    def read(run: object) -> Sequence[Reading]:
        asked.append(run)
        looked.set()
        return [QUIET]

    sampler.READERS["ascend"] = read  # type: ignore[assignment]  # put back by the fixture
    stop = threading.Event()
    thread = threading.Thread(target=cards.sampler.run, args=(stop,))
    thread.start()
    for _ in range(3):
        assert looked.wait(10)
        looked.clear()
        cards.sampler.want()
    stop.set()
    cards.sampler.want()
    thread.join(10)
    assert not thread.is_alive()
    assert len(asked) >= 3


READINGS = st.builds(
    Reading,
    device=st.just(0),
    health=st.sampled_from(["ok", "warning", "alarm", "critical", ""]),
    memory_used=st.none() | st.integers(0, TOTAL),
    memory_total=st.just(TOTAL),
    processes=st.none() | st.just(()) | st.just((CardProcess(None, GIB),)),
    unknown=st.just("") | st.just("slow"),
)


@given(reading=READINGS, learned=st.none() | st.integers(0, TOTAL // 2))
def test_a_card_is_free_only_when_everything_says_so(reading: Reading, learned: int | None) -> None:
    foreign = tuple(reading.processes or ())
    if busy(reading, foreign, learned) == "":
        assert reading.health not in {"alarm", "critical"}
        used, more = reading.memory_used or 0, above(reading, learned)
        assert not more or used <= (learned or 0) + TOTAL // 10
        assert not foreign or (more is False and learned is not None)
    if reading.memory_used is not None:
        assert limit(learned, TOTAL) > (learned or 0)
