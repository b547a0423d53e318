"""What an engine runs on a node for one launch: a small program of its own, run by path.

    python -I -S node.py RUN_DIR
    python -I -S node.py --settle RUNS_DIR

It claims the launch, finds where to listen, has the supervisor run ComfyUI, and is the only one
that tells the manager of it: by files in RUN_DIR on the storage that all machines share. Standard
library and a few neighbours only (Python 3.9). What it keeps there:

    claim      who has the launch: this program, by host, boot and process; see ``claims.py``
    address    {"host", "port"} it listens on
    beat       once a second, with a number that grows: that it lives, who listens, what was done
    ended      when all is over: who has the cards open that may have come from the launch
    exit, gone as the supervisor leaves them, or in its place where that was killed

and reads ``job`` (written before it was submitted) and ``order`` (``stop`` or ``kill``). SIGTERM,
by which engines end jobs, asks the tree to end and kills it before the engine would: what engines
kill themselves misses whoever has detached himself. SIGUSR1 kills at once.

**Who dies first.** Should the supervisor be killed, its orphans are handed to this program, which
kills them. Should this program be killed, the supervisor ends its tree politely, then by force. An
engine that lost the process which began this one (a raylet, a slurmstepd) takes the job for ended
and gives its card to the next one: so this program then ends the tree at once, politely and within
``ORPHAN_GRACE_S``, which is less than such an engine takes to notice; what waited in its queue is
kept by the manager, which saw it last. Both killed at the same moment leave processes behind that
the next program on this node finds by their marks and ends (``--settle`` does that alone); until
then the launch is *unknown*, and its place nobody's.

**When the storage is away** the tree works on: nobody can tell the user's work from a manager's
order then, and a beat that does not come makes a launch unknown, never gone. The engine's signals
are obeyed all the same. Only a launch that was given up meanwhile, by people who said that its
machine was off for good, is ended when the storage is back: its place may be somebody else's.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # The packages above the imports below are empty but for a docstring.
    sys.path.append(__file__.rsplit("/", 4)[0])

from manager.launcher import notes, supervisor
from manager.launcher.below import end_all, reap, send
from manager.launcher.far import claims, hosts, settle
from manager.launcher.far.keeper import Keeper
from manager.launcher.far.place import CannotStartError, begin
from manager.launcher.run_dir import RunDir

NO_CLAIM = 75
"""Exit code: somebody else has this launch (EX_TEMPFAIL of sysexits.h)."""

REFUSED = 78
"""Exit code, noted for the launch too: it cannot run on this node (EX_CONFIG)."""

NO_JOB = 66
"""Exit code: there is no such launch on this node's storage (EX_NOINPUT)."""

LOOK_S = 0.25
BEAT_S = 1.0
ORPHAN_GRACE_S = 5.0
STUCK_S = 3.0
"""Time the supervisor has for a kill, before it is killed itself and its tree without it."""

HOLD_S = 60.0
"""Time for which a card that is still open after the end keeps this job, and with it the card."""

NEWS = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD}
DEAF_TO = {signal.SIGHUP, signal.SIGUSR2, signal.SIGPIPE}


class Ending:
    """What has been asked of the supervisor so far, and when more is due (monotonic seconds)."""

    def __init__(self, pid: int) -> None:
        """Begin with nothing asked."""
        self.pid = pid
        self.asked = False
        self.kill_at = float("inf")
        self.stuck_at = float("inf")

    def ask(self, grace_s: float = float("inf")) -> None:
        """Ask for a polite end, to be made a kill after some seconds."""
        if not self.asked:
            self.asked = True
            send(self.pid, signal.SIGTERM)
        self.kill_at = min(self.kill_at, time.monotonic() + grace_s)

    def kill(self) -> None:
        """Have all killed."""
        self.asked = True
        self.kill_at = min(self.kill_at, time.monotonic())

    def step(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if now >= self.stuck_at:
            # Its orphans are handed to this program then.
            send(self.pid, signal.SIGKILL)
        elif now >= self.kill_at:
            send(self.pid, signal.SIGUSR1)
            send(self.pid, signal.SIGCONT)
            self.stuck_at = min(self.stuck_at, now + STUCK_S)


def watch(keeper: Keeper, job: dict[str, Any], child: int, parent: int) -> int:
    """Live with the supervisor until it ends.

    Returns:
        Its exit code, negative for a signal.
    """
    ending, next_beat = Ending(child), 0.0
    while True:
        news = signal.sigtimedwait(NEWS, LOOK_S)
        number = news.si_signo if news is not None else 0
        order = keeper.order()
        if number == signal.SIGUSR1 or order == "kill":
            ending.kill()
        elif number in (signal.SIGTERM, signal.SIGINT):
            ending.ask(float(job["grace_s"]))
        elif order == "stop":
            ending.ask()
        if os.getppid() != parent and not keeper.orphan:
            notes.say("what the engine began this with is gone: ending")
            keeper.orphan = True
            ending.ask(ORPHAN_GRACE_S)
        ending.step()
        code = reap(child)
        if code is not None:
            return code
        if time.monotonic() >= next_beat:
            next_beat = time.monotonic() + BEAT_S
            keeper.beat()


def end_rest(keeper: Keeper) -> None:
    """Kill what a killed supervisor left, until nobody is left; a beat tells that it goes on."""
    next_beat = 0.0
    while not (_childless() and keeper.nobody_left()):
        end_all()
        signal.sigtimedwait({signal.SIGCHLD}, LOOK_S / 10)
        if time.monotonic() >= next_beat:
            next_beat = time.monotonic() + BEAT_S
            keeper.end_marked()
            keeper.beat()


def _childless() -> bool:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False


def hold(keeper: Keeper) -> None:
    """Keep this job, and so its card, while somebody has that open who may be of the launch."""
    until = time.monotonic() + HOLD_S
    while keeper.end() and time.monotonic() < until:
        keeper.beat()
        news = signal.sigtimedwait(NEWS - {signal.SIGCHLD}, BEAT_S)
        if news is not None:
            return


def run(run: RunDir, job: dict[str, Any], me: dict[str, object], parent: int) -> int:
    """Run one launch that is ours, from its address to its end."""
    log = run.open_log()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    keeper = Keeper(run, job)
    keeper.beat()
    try:
        child = begin(run, job, str(me["host"]), keeper)
    except CannotStartError as error:
        notes.say(f"nothing was started on {me['hostname']}: {error}")
        keeper.finish(REFUSED, str(error))
        keeper.end()
        return REFUSED
    code = watch(keeper, job, child, parent)
    end_rest(keeper)
    if not run.gone():
        reason = "" if code else "it ended without saying how"
        keeper.finish(None, reason or f"its supervisor ended with {code}")
    hold(keeper)
    return 0


def main(run_dir: str, parent: int) -> int:
    """Claim a launch and run it, or leave it to who has it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, NEWS | DEAF_TO)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.umask(0o077)
    path = Path(run_dir)
    job = claims.read_file(path / "job")
    if not job:
        notes.say(f"there is no launch in {run_dir} on this node: is that storage shared?")
        return NO_JOB
    try:
        supervisor.become_subreaper()
        me = hosts.describe(job["hosts"], str(job["reach"]))
        # What an earlier run of this launch, or of another, left on this very node.
        settle.settle(path.parent, job["accounts"])
        if not claims.take(path, claims.NODE, me):
            notes.say("somebody else has this launch, or it was called off")
            return NO_CLAIM
    except OSError as error:
        notes.say(f"nothing was started: {error}")
        return NO_JOB
    return run(RunDir(path), job, me, parent)


if __name__ == "__main__":
    if sys.argv[1] == "--settle":
        sys.exit(settle.main(Path(sys.argv[2])))
    sys.exit(main(sys.argv[1], os.getppid()))
