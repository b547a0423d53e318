"""What a process gives up before it becomes ComfyUI: places, accounts, capabilities, resources.

The supervisor calls ``enter`` in its fork where the launcher has written a plan for the launch
(``RUN_DIR/plan``, one JSON object; what it does not name stays as it is):

    groups         files to write this process's number into, before everything else
    nice           int, oom_score_adj: int; never less than what is inherited
    limits         {"NOFILE": number, ...}: RLIMIT_*, soft and hard, at most the present hard one
    secret, tls    true: RUN_DIR/secret goes into descriptor 3, RUN_DIR/tls (key and certificate)
                   into 4; both are read before they become unreadable
    sandbox        see ``sandbox.py``; the steps below are then taken within it
    uid, gids      the account (its group has the same number) and the additional groups
    drop           true: no capability stays, none comes back, and no program run later gives any
    landlock       see ``landlock.rules``

It is all or nothing: a step that fails raises ``CannotConfineError``, and nothing may be run then.

Within a sandbox this file is the first program, run by path as ``confine.py PLAN TELL PROGRAM ...``
with two descriptors: its plan, and where to say that all is done or why not. So it imports nothing
but the standard library (Python 3.9) and its neighbours, and those late.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

NOT_CONFINED = 77
"""Exit code: nothing was started because it could not be confined (EX_NOPERM of sysexits.h)."""

DONE, DONE_WITHIN = b"+", b"="
"""Said into ``TELL`` when the program may run; anything else there is the reason why not."""

SECRET_DESCRIPTOR = 3
SECRET_FILE = f"/proc/self/fd/{SECRET_DESCRIPTOR}"
"""Where a program of a plan with ``secret`` reads it."""

TLS_DESCRIPTOR = 4
TLS_FILE = f"/proc/self/fd/{TLS_DESCRIPTOR}"
"""Where a program of a plan with ``tls`` reads its key and certificate."""

KEPT_FREE = 10
"""Descriptors that are made here begin above those that a program might be handed."""

WITHIN = ("uid", "gids", "drop", "landlock")
"""The parts of a plan that are done within the sandbox where there is one."""


class CannotConfineError(OSError):
    """Says why nothing may be started."""


@contextmanager
def _step(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotConfineError(f"{what}: {error.strerror or error}") from error


@contextmanager
def _well_formed() -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CannotConfineError(f"the plan of its isolation is broken: {error!r}") from error


def enter(run_dir: str, argv: Sequence[str], tell: int) -> list[str]:
    """Do what the launch's plan says, all but what is to be done within its sandbox.

    Args:
        run_dir: the launch's directory.
        argv: the program.
        tell: where ``DONE`` is said when all is done; with a sandbox it says ``DONE_WITHIN``.

    Returns:
        What must be run now: the program, or its sandbox.

    Raises:
        CannotConfineError: a step failed; the message says which.
    """
    plan = read_plan(run_dir)
    with _well_formed():
        for path in plan.get("groups", ()):
            with _step(f"the group {path} cannot be entered"):
                _write(path, str(os.getpid()))
        _restrain(plan)
        for name, number in (("secret", SECRET_DESCRIPTOR), ("tls", TLS_DESCRIPTOR)):
            if plan.get(name):
                with _step(f"its {name} cannot be handed over"):
                    held = _hold(_read(f"{run_dir}/{name}"), run_dir)
                    os.dup2(held, number, inheritable=True)
                    os.close(held)
        if plan.get("sandbox") is not None:
            return _in_sandbox(plan, argv, run_dir, tell)
        _give_up(plan)
    os.write(tell, DONE)
    return list(argv)


def read_plan(run_dir: str) -> dict[str, Any]:
    """Give the plan of a launch.

    Raises:
        CannotConfineError: it cannot be read.
    """
    import json

    try:
        plan = json.loads(_read(run_dir + "/plan"))
    except (OSError, ValueError) as error:
        raise CannotConfineError(f"the plan of its isolation cannot be read: {error}") from error
    if not isinstance(plan, dict):
        raise CannotConfineError("the plan of its isolation is not a plan")
    return plan


def _restrain(plan: Mapping[str, Any]) -> None:
    """Set nice value, readiness to be killed for want of memory, and limits."""
    import resource

    if plan.get("nice") is not None:
        with _step(f"the nice value {plan['nice']} cannot be set"):
            now = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, 0, max(now, plan["nice"]))
    if plan.get("oom_score_adj") is not None:
        own = "/proc/self/oom_score_adj"
        with _step(f"{own} cannot be set to {plan['oom_score_adj']}"):
            _write(own, str(max(int(_read(own)), plan["oom_score_adj"])))
    for name, wanted in plan.get("limits", {}).items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with _step(f"the limit {name} cannot be set to {most}"):
            resource.setrlimit(kind, (most, most))


def _give_up(plan: Mapping[str, Any]) -> None:
    """Become the account, without capabilities, behind Landlock's rules; and make sure of it."""
    from manager.launcher import landlock, privileges

    made, wanted = None, plan.get("landlock")
    if wanted is not None:
        # While everything can still be opened: a rule is about a place, whoever may reach it.
        with _step("Landlock's rules cannot be made"):
            made = landlock.rules(wanted)
    drop, uid, gids = bool(plan.get("drop")), plan.get("uid"), list(plan.get("gids", ()))
    locked = False
    if drop:
        with _step("its capabilities cannot be locked away"):
            locked = privileges.lock_capabilities()
    if uid is not None:
        with _step(f"the account {uid} cannot be taken"):
            os.setgroups(gids)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
    if drop:
        with _step("its capabilities cannot be dropped"):
            privileges.clear_capabilities()
    if drop or made is not None:
        with _step("no_new_privs cannot be set"):
            privileges.gain_nothing_new()
    os.umask(0o077)
    with _step("/proc/self/status cannot be read"):
        left = privileges.not_given_up(uid, gids, drop=drop, locked=locked)
    if left:
        raise CannotConfineError(f"the kernel says that this did not work: {', '.join(left)}")
    if made is not None:
        with _step("Landlock's rules cannot be put in force"):
            landlock.enforce(made)


def _in_sandbox(plan: Mapping[str, Any], argv: Sequence[str], run_dir: str, tell: int) -> list[str]:
    import json

    from manager.launcher import sandbox

    box = dict(plan["sandbox"])
    box.setdefault("cwd", os.getcwd())  # noqa: PTH109
    if not os.access(box["bwrap"], os.X_OK):
        raise CannotConfineError(f"there is no bubblewrap at {box['bwrap']}")
    rest = {name: plan[name] for name in WITHIN if name in plan}
    rest["cwd"], rest["open"] = box["cwd"], sandbox.to_be_opened(box)
    with _step("the plan cannot be handed on"):
        held = _hold(json.dumps(rest).encode(), run_dir)
        os.set_inheritable(held, True)
        os.set_inheritable(tell, True)
    return [*sandbox.command(box), str(held), str(tell), *argv]


def _finish(plan: Mapping[str, Any]) -> None:
    """Do the part of a plan that is for within the sandbox."""
    if os.geteuid() == 0:
        for path in plan["open"]:
            with _step(f"{path} cannot be opened to all in the sandbox"):
                os.chmod(path, 0o1777)  # noqa: PTH101, S103
    _give_up(plan)
    with _step(f"its folder {plan['cwd']} cannot be entered"):
        os.chdir(plan["cwd"])
    os.environ["PWD"] = plan["cwd"]


def main(plan_descriptor: int, tell: int, argv: list[str]) -> None:
    """Do the rest within the sandbox, then become the program."""
    import json

    os.set_inheritable(tell, False)
    # As outside: `kill 0` must reach nobody but what it starts.
    os.setsid()
    try:
        with _well_formed():
            _finish(json.loads(_read(f"/proc/self/fd/{plan_descriptor}")))
    except CannotConfineError as error:
        os.write(tell, str(error).encode())
        sys.exit(NOT_CONFINED)
    os.close(plan_descriptor)
    os.write(tell, DONE_WITHIN)
    # Python ignores these two, and that would be inherited.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(tell, (error.strerror or str(error)).encode())
        sys.exit(127)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def _hold(content: bytes, run_dir: str) -> int:
    """Give a descriptor of a file without a name; whoever has it, as any account, may only read."""
    import fcntl

    try:
        made = os.memfd_create("comfyui-manager")
    except (AttributeError, OSError):
        # Linux before 3.17, or a C library that knows nothing of it.
        path = run_dir + "/held"
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(path)  # noqa: PTH108
    held = fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, KEPT_FREE)
    os.close(made)
    os.write(held, content)
    os.lseek(held, 0, os.SEEK_SET)
    os.fchmod(held, 0o444)
    return held


if __name__ == "__main__":
    # Both packages above the neighbours are empty but for a docstring.
    sys.path.append(__file__.rsplit("/", 3)[0])
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
