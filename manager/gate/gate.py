"""The gate as the other rooms see it: which ports are open, for which token and secret.

Owns the wanted state, the lock around every change, and the care for a Caddy that dies. Called by
``lifecycle`` and ``watch`` from any thread. No log line, error or ``repr`` of this room holds
either.
"""

from __future__ import annotations

import logging
import secrets
import string
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from manager import runtime
from manager.errors import AlreadyServing, GateFailed
from manager.gate import admin
from manager.gate.caddy import CaddyProcess
from manager.gate.live import Live
from manager.gate.opening import Opening
from manager.gate.render import check_openings
from manager.gate.use import UseLogs
from manager.settings import Settings

log = logging.getLogger(__name__)

TOKEN_LENGTH = 32
BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
LOOK_AGAIN_S = 10.0
"""How often a port held by another program is tried anew and the log's size looked at."""

DYING_S = 1.0
"""How long a killed Caddy may take until the kernel has cleared it away."""

_ALPHABET = string.ascii_letters + string.digits


def new_token() -> str:
    """Make a token or secret: 32 letters and digits, 190 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(TOKEN_LENGTH))


@dataclass(frozen=True)
class GateHealth:
    """How Caddy is. ``problem`` is a sentence for the admin, None when all is well.

    ``certificate_until`` is the end of the operator's certificate, in UTC epoch seconds.
    """

    running: bool
    pid: int | None
    version: str
    problem: str | None
    certificate_until: float | None = None


class Gate:
    """All gates of one manager, served by one Caddy."""

    def __init__(self, settings: Settings) -> None:
        """Start nothing and write nothing."""
        self._rows = settings.ports
        self._caddy = CaddyProcess(settings)
        self._use = (
            UseLogs(self._caddy.home / "use") if "workspace" in settings.idle_signals else None
        )
        self._live = Live(settings, self._caddy, self._use)
        self._lock = threading.Lock()
        self._wanted: dict[int, Opening] = {}
        self._on = False
        self._begun = False
        self._problem: str | None = None
        self._silence: str | None = None
        self._worker: threading.Thread | None = None
        self._failures = 0
        self._next_try = 0.0
        self._next_look = 0.0

    @property
    def unavailable(self) -> dict[int, str]:
        """Give the ComfyUI ports that cannot be served now, and why, for the admin."""
        return dict(self._live.left_out)

    def last_use(self, port: int) -> float | None:
        """Give when a person last used an open gate, in UTC epoch seconds; cheap.

        Returns:
            None where Caddy cannot tell.
        """
        if self._use is None or not self._caddy.serves():
            return None
        return self._use.last(port)

    def take_certificate(self) -> None:
        """Find out whether TLS has what it needs, before anything that runs is touched.

        Raises:
            GateFailed: the certificate cannot be used; says why.
        """
        self._live.keeper.take()

    def start(self, openings: Mapping[int, Opening] | None = None) -> dict[int, str]:
        """Begin Caddy, or take over the one that is running, with ``openings`` open.

        Whatever fails, ``watch`` tries again, except that another manager is never disturbed.

        Returns:
            Of the wanted ports those that cannot be served, and why.

        Raises:
            GateFailed: says what to do.
            AlreadyServing: another manager uses this data directory.
        """
        openings = dict(openings or {})
        check_openings(self._rows, openings)
        with self._lock:
            self._on = True
            self._wanted = openings
            try:
                self._bring_up()
            except AlreadyServing:
                self._on = False
                raise
            finally:
                self._begun = True
            return self._unserved()

    def apply(self, openings: Mapping[int, Opening]) -> dict[int, str]:
        """Make ``openings``, by ComfyUI port, the open gates; all others are closed.

        Returns:
            Of the wanted ports those that cannot be served because another program holds one of
            their gate ports, and why; all others are as asked.

        Raises:
            GateFailed: nothing has changed; the next call with what is then wanted may succeed.
        """
        openings = dict(openings)
        check_openings(self._rows, openings)
        with self._lock:
            if not self._on:
                if openings or self._caddy.running():
                    raise GateFailed("the gate has not been started")
                return {}  # closed is what a gate without Caddy is
            before, self._wanted = self._wanted, openings
            try:
                self._reach_wanted()
            except GateFailed as error:
                self._problem = error.message
                # A restart of Caddy must open neither what was refused nor what should be closed.
                self._wanted = {p: o for p, o in openings.items() if before.get(p) == o}
                raise
            return self._unserved()

    def on_reload(self, told: Callable[[bool], None]) -> None:
        """Have ``told`` called after each reload, with whether Caddy took it."""
        self._live.reloaded = told

    def watch(self) -> GateHealth:
        """Say how Caddy is, and have it brought back when it has died. Cheap; waits for nothing."""
        alive = running = self._caddy.running()
        now = time.monotonic()
        if self._on and not (self._worker and self._worker.is_alive()):
            if not running and now >= self._next_try:
                self._work(self._revive)
            elif running and now >= self._next_look:
                self._next_look = now + LOOK_AGAIN_S
                self._work(self._tidy)
        problem = self._problem or self._silence
        if not running and self._begun:
            problem = problem or "Caddy is not running"
        elif self._caddy.stopped():
            running, problem = False, self._stopped_text()
        keeper = self._live.keeper
        if problem is None:
            problem = keeper.problem or "; ".join(self._live.left_out.values()) or None
        pid = self._caddy.pid if alive else None
        return GateHealth(running, pid, self._caddy.version, problem, keeper.expires_at)

    def stop(self) -> None:
        """End Caddy, also one that an earlier manager left, and close every gate in the file.

        Raises:
            AlreadyServing: another manager uses this data directory.
            GateFailed: the file could not be closed; Caddy has ended all the same.
        """
        self._halt()
        with self._lock:
            self._caddy.hold()
            try:
                self._caddy.adopt()
                self._caddy.end()
                self._wanted, self._live.openings, self._live.left_out = {}, None, {}
                self._live.write({})
            finally:
                self._caddy.release()

    def leave(self) -> None:
        """Let go of Caddy without ending it: open workspaces outlive a restart of the manager."""
        self._halt()
        with self._lock:
            self._caddy.release()

    def _halt(self) -> None:
        self._on = False
        if self._worker is not None:
            self._worker.join()

    def _work(self, job: Callable[[], None]) -> None:
        self._worker = threading.Thread(target=job, name="gate", daemon=True)
        self._worker.start()

    def _revive(self) -> None:
        with self._lock:
            if self._on and not self._caddy.running():
                self._problem = self._problem or "Caddy has ended and is being started again"
                self._try(self._bring_up)

    def _tidy(self) -> None:
        runtime.offload(self._caddy.trim_log)
        answers = self._caddy.stopped() or admin.answers(self._caddy.door)
        self._silence = None if answers else "Caddy runs, but does not answer its control socket"
        with self._lock:
            renewed = self._live.renewed()
            if self._on and (renewed or self._live.freed() or self._live.openings != self._wanted):
                self._try(self._change)

    def _try(self, job: Callable[[], None]) -> None:
        try:
            job()
        except (GateFailed, AlreadyServing) as error:
            self._problem = error.message

    # From here on with the lock held.

    def _reach_wanted(self) -> None:
        if not self._caddy.running():
            if time.monotonic() < self._next_try:
                raise GateFailed(self._problem or "Caddy is not running")
            self._bring_up()
        elif self._live.openings != self._wanted:
            if self._caddy.stopped():
                # It would take the full time limit to find out, with everybody else waiting.
                raise GateFailed(self._stopped_text())
            try:
                self._change()
            except admin.NoAnswer:
                if not self._caddy.dies_within(DYING_S):
                    raise
                self._bring_up()
        else:
            self._problem = None

    def _stopped_text(self) -> str:
        return f"Caddy is stopped (SIGSTOP); kill -CONT {self._caddy.pid} lets it go on"

    def _bring_up(self) -> None:
        """Adopt or begin Caddy and make it serve what is wanted; plan the next try on failure."""
        try:
            self._caddy.hold()
            self._caddy.check_program()
            self._live.openings = None
            if self._caddy.adopt():
                self._change()
            else:
                self._live.begin(self._wanted)
        except GateFailed as error:
            wait_s = BACK_OFF_S[min(self._failures, len(BACK_OFF_S) - 1)]
            self._failures += 1
            self._problem = error.message
            self._next_try = time.monotonic() + wait_s
            log.warning("Caddy: %s (next try in %g s)", error.message, wait_s)
            raise
        self._failures = 0
        self._next_try = self._next_look = 0.0
        self._problem = None
        log.info("Caddy %s serves the gates, pid %s", self._caddy.version, self._caddy.pid)

    def _change(self) -> None:
        self._live.change(self._wanted)
        self._problem = None

    def _unserved(self) -> dict[int, str]:
        return {p: why for p, why in self._live.left_out.items() if p in self._wanted}
