"""Looks at the cards again and again, beside the work and never on request.

One loop runs the driver's tool, at most one at a time, more rarely while the machine is busy or the
tool is slow, and at once when somebody has to know. What is learned of a card is kept here: its
newest state and its baseline. A look that gives nothing makes a card unknown; it never makes it
free: what was last known to be in its way stays so until a look says otherwise.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from manager import cards, runtime
from manager.cards import ascend, cpu, cuda, owners, rocm
from manager.cards.baseline import NOBODYS_MEMORY, Baselines, above, busy, memory_words
from manager.cards.reading import BAD_HEALTH, CardProcess, Reading, Unreadable
from manager.cards.tool import Run, Tools
from manager.settings import Settings

logger = logging.getLogger(__name__)

READERS: dict[str, Callable[[Run], list[Reading]]] = {
    "ascend": ascend.read,
    "cuda": cuda.read,
    "rocm": rocm.read,
}
NAMES = {"ascend": ascend.TOOL, "cuda": cuda.TOOL, "rocm": rocm.TOOL}

REST_FACTOR = 4
"""Between two looks pass at least this many times as long as one takes."""

GRACE_S = 2.0
"""Beyond the look under way and the next one, before who waits for a look gives up."""

Note = Callable[[Sequence[Reading], float], None]
"""Is told what a look gave, and when (UTC epoch seconds)."""


@dataclass(frozen=True)
class CardState:
    """What is known of a card.

    ``reading`` is the newest look, which may be «unknown»; ``known`` the newest that was not.
    ``begun_at`` and ``known_at`` are when these looks began, in monotonic seconds. ``foreign`` are
    processes that belong to no instance of ours. ``before`` is the memory in use, in bytes, at the
    last look while no instance had the card. ``busy`` says why the card is not given out;
    ``since`` (UTC epoch seconds) is when that began.
    """

    reading: Reading
    begun_at: float
    known: Reading | None = None
    known_at: float = float("-inf")
    baseline: int | None = None
    foreign: tuple[CardProcess, ...] = ()
    busy: str = ""
    since: float = 0.0
    before: int | None = None

    @property
    def nobodys_memory(self) -> bool:
        """Tell whether memory alone is in the way: an admin may say that it is normal."""
        return self.busy.startswith(NOBODYS_MEMORY)

    @property
    def sick(self) -> bool:
        """Tell whether it is not given out because of its health."""
        return bool(self.busy) and self.known is not None and self.known.health in BAD_HEALTH


class Sampler:
    """The cards of the port table, as last seen."""

    def __init__(
        self,
        kind: str,
        devices: list[int],
        data_dir: Path,
        *,
        interval_s: float = 5.0,
        limit_s: float = 10.0,
        slowdown: Callable[[], int] = lambda: 1,
        launch_of: Callable[[int], str] = lambda _pid: "",
        note: Note = lambda _readings, _at: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind; ``in_use`` is replaced by whoever knows which devices are not to be judged.

        ``devices`` are the drivers' ids of the table's cards; ``limit_s`` is how long one look may
        take; ``slowdown`` says how many times more rarely to look because the machine is busy;
        ``launch_of`` names the launch that a process belongs to, empty when to none; ``note`` is
        told of each look of a tool.
        """
        self._kind = kind
        self._devices = devices
        self._interval_s = interval_s
        self._slowdown = slowdown
        self._launch_of = launch_of
        self._monotonic = monotonic
        self._stop = threading.Event()
        self._tools = Tools(limit_s, monotonic, lambda: self._stop.is_set())
        self._baselines = Baselines(data_dir / "card_baselines.json", kind)
        self._host = owners.on_host()
        self._wanted = threading.Event()
        self._states: dict[int, CardState] = {}
        self._note_readings = note
        self._problem = ""
        self.in_use: Callable[[], frozenset[int]] = frozenset
        self.patience_s = 2 * limit_s + GRACE_S if kind in READERS else 0.0
        """How long a fresh look may keep somebody waiting; 0 where no tool is asked."""

    def state(self, device: int) -> CardState | None:
        """Give what is known of a card; None before the first look."""
        return self._states.get(device)

    def fresh(self, device: int, since: float) -> CardState | None:
        """Give what is known of a card if a look began after ``since`` (monotonic seconds)."""
        state = self._states.get(device)
        return state if state is not None and state.begun_at > since else None

    def want(self) -> None:
        """Have the next look begin at once."""
        self._wanted.set()

    def accept(self, device: int) -> None:
        """Take the memory that is in use on a card now for normal, because an admin says so."""
        state = self._states.get(device)
        if state is None or state.known is None:
            return
        if self._baselines.accept(state.known):
            self._save()
        baseline = self._baselines.get(device)
        self._states[device] = replace(state, baseline=baseline, busy="", since=0.0)

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop; ``want`` then ends the wait."""
        self._stop = stop
        while not stop.is_set():
            self._wanted.clear()
            began = self._monotonic()
            self.look()
            self._wanted.wait(self.pause(self._monotonic() - began))

    def pause(self, took_s: float) -> float:
        """Say how long to rest after a look that took so many seconds."""
        return max(self._interval_s * self._slowdown(), took_s * REST_FACTOR)

    def look(self) -> None:
        """Look at every card once."""
        begun_at = self._monotonic()
        before = self.in_use()
        readings = self._readings()
        in_use = before | self.in_use()
        save = False
        for device in self._devices:
            one = readings[device]
            if one.processes:
                one = replace(one, processes=self._named(one.processes))
            if device not in in_use and not one.unknown and self._kind in READERS:
                save |= self._baselines.take(one)
            self._states[device] = self._judged(one, begun_at, held=device in in_use)
        if save:
            self._save()
        if self._kind in READERS:
            self._note_readings([readings[device] for device in self._devices], time.time())

    def _readings(self) -> dict[int, Reading]:
        try:
            self._tools.begin()
            reader = READERS.get(self._kind)
            found = reader(self._tools.run) if reader else cpu.read(self._devices)
        except Unreadable as why:
            return self._unknown(str(why))
        except (ValueError, LookupError, OSError) as error:
            return self._unknown(f"what the tool printed makes no sense ({error})")
        by_device = {one.device: one for one in found}
        self._note("")
        shown = ", ".join(map(str, sorted(by_device)))
        return {
            device: by_device.get(device)
            or Reading(device, unknown=f"{NAMES[self._kind]} shows no device {device}, but {shown}")
            for device in self._devices
        }

    def _unknown(self, why: str) -> dict[int, Reading]:
        if not self._stop.is_set():
            self._note(why)
        return {device: Reading(device, unknown=why) for device in self._devices}

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            if problem:
                logger.warning("cards: nothing is known of them: %s", problem)
            else:
                logger.info("cards: known again; before: %s", self._problem)
            self._problem = problem

    def _named(self, processes: tuple[CardProcess, ...]) -> tuple[CardProcess, ...]:
        return runtime.offload(lambda: owners.named(processes, host=self._host))

    def _judged(self, one: Reading, begun_at: float, *, held: bool) -> CardState:
        old = self._states.get(one.device)
        baseline = self._baselines.get(one.device)
        if one.unknown:
            state = old or CardState(one, begun_at)
            state = replace(state, reading=one, begun_at=begun_at, baseline=baseline)
            return replace(state, busy="", since=0.0, foreign=()) if held else state
        foreign = self._foreign(one, held=held)
        why = "" if held or self._kind not in READERS else busy(one, foreign, baseline)
        since = old.since if old is not None and old.busy and why else time.time()
        if why and (old is None or not old.busy):
            logger.warning("card device %d: not given out: %s", one.device, why)
        before = old.before if held and old is not None else None if held else one.memory_used
        since = since if why else 0.0
        return CardState(one, begun_at, one, begun_at, baseline, foreign, why, since, before)

    def _foreign(self, one: Reading, *, held: bool) -> tuple[CardProcess, ...]:
        """Give the processes that are not ours; on a held card only those that surely are not."""
        found = [
            process
            for process in one.processes or ()
            if (not held if process.pid is None else not self._ours(process.pid))
        ]
        return tuple(found)

    def _ours(self, pid: int) -> bool:
        return bool(runtime.offload(self._launch_of, pid))

    def _save(self) -> None:
        try:
            runtime.offload(self._baselines.save)
        except OSError as error:
            logger.error("cards: what was learned cannot be saved: %s", error)  # noqa: TRY400


def for_table(
    settings: Settings,
    launch_of: Callable[[int], str],
    slowdown: Callable[[], int],
    note: Note = lambda _readings, _at: None,
) -> Sampler:
    """Make what looks at the cards of the port table; nothing is known of those elsewhere."""
    return Sampler(
        cards.kind_measured(settings),
        [row.device for row in settings.ports if row.node is None],
        settings.data_dir,
        interval_s=settings.card_sample_interval,
        limit_s=settings.card_tool_timeout,
        slowdown=slowdown,
        launch_of=launch_of,
        note=note,
    )


def left_behind(state: CardState, since: float) -> str | None:
    """Say that memory of a card is in use after ``since`` that was not before, if it is.

    What was in use before the launch need not have become less. Where nothing was known since,
    where the tool shows no memory, or where neither is known, nobody can tell: nothing is said.
    """
    known = state.known
    normal = max((n for n in (state.baseline, state.before) if n is not None), default=None)
    if known is None or state.known_at <= since or normal is None or not above(known, normal):
        return None
    return f"{CARD_MEMORY} of device {known.device} is not back: {memory_words(known, normal)}"


CARD_MEMORY = "the memory"
"""How ``left_behind`` begins; kept with a port that is held back."""
