"""The command line of bubblewrap for one instance; nothing is run here.

The part ``sandbox`` of a plan (see ``confine.py``):

    bwrap          path of bubblewrap
    python         an interpreter (3.9 or newer) visible within, for what is done there
    readable       what is seen and can be run, each with all below
    writable       what can be written to as well
    hidden         what is not seen although it is below something that is
    devices        device nodes that can be used
    unprivileged   true: an account other than root's makes it, by a user namespace
    cwd            where the program begins; without it, where it would have begun outside

Nothing else is there but own ``/proc``, ``/dev``, ``/tmp`` and ``/run``, and how names are looked
up (``/etc/resolv.conf``). The deepest word counts: what is writable below what is hidden is seen.
The network is the machine's own: an instance is reached on 127.0.0.1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from manager.launcher.landlock import SHARED_MEMORY, is_below

READ, WRITE, HIDE, EMPTY = "readable", "writable", "hidden", "empty"
FOLDER, LINK = "folder", "link"
OWN = ("/tmp", "/run")  # noqa: S108 - empty ones of its own
KERNELS = ("/proc", "/dev")
NAME_SERVERS = "/etc/resolv.conf"
NOTHING = "/dev/null"
"""Stands in the place of a hidden file; it cannot be opened there."""

MOST_LINKS = 40
"""Links followed on one way, as the kernel does (path_resolution(7))."""

_FOLDER = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
PROGRAM = os.path.join(_FOLDER, "confine.py")  # noqa: PTH118
OWN_FILES = (
    os.path.join(os.path.dirname(_FOLDER), "__init__.py"),  # noqa: PTH118, PTH120
    *(os.path.join(_FOLDER, f"{name}.py") for name in ("__init__", "landlock", "privileges")),  # noqa: PTH118
    PROGRAM,
)
"""What must be seen within so that the rest of the plan can be done there."""


def command(box: Mapping[str, Any]) -> list[str]:
    """Give the words that run ``confine.py`` within the sandbox; its arguments are to follow."""
    places = _places(box)
    words = [box["bwrap"], "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    if box.get("unprivileged"):
        words.append("--unshare-user")
    # Not --die-with-parent: work goes on when its supervisor is killed, as without a sandbox.
    words += ["--chdir", "/"]
    entries = {path: (kind, "") for path, kind in places.items()}
    entries.update({path: (LINK, target) for path, target in _links(box, places)})
    for path in list(entries):
        # Made by bubblewrap itself they could be for root alone.
        entries = dict.fromkeys(_new_folders(path, places), (FOLDER, "")) | entries
    for path in sorted(entries, key=lambda path: path.split("/")):
        words += _mount(path, *entries[path])
    words += ["--proc", "/proc", "--dev", "/dev"]
    for node in box.get("devices", ()):
        words += ["--dev-bind-try", node, node]
    hidden = [path for path, kind in places.items() if kind == HIDE and os.path.isdir(path)]  # noqa: PTH112
    for path in [*hidden, *([] if "/" in places else ["/"])]:
        words += ["--remount-ro", path]
    return [*words, "--", box["python"], "-I", "-S", "-B", PROGRAM]


def to_be_opened(box: Mapping[str, Any]) -> list[str]:
    """Give what root makes for the sandbox, and who lives in there must be able to write to."""
    return [path for path, kind in _places(box).items() if kind == EMPTY] + [SHARED_MEMORY]


def _places(box: Mapping[str, Any]) -> dict[str, str]:
    """Say what is to be mounted where; without links, and only what makes a difference."""
    writable = list(box.get("writable", ()))
    wanted = dict.fromkeys(OWN, EMPTY)
    for kind, paths in (
        (READ, _readable(box)),
        (WRITE, writable),
        (HIDE, box.get("hidden", ())),
    ):
        for path in paths:
            real = os.path.realpath(path)
            if os.path.exists(real) and not _leads_out(path, real, writable):  # noqa: PTH110
                wanted[real] = kind
    places: dict[str, str] = {}
    for path in sorted(wanted, key=lambda path: path.split("/")):
        kind, around = wanted[path], _cover(path, places)
        in_kernels = path in KERNELS or is_below(path, KERNELS)
        if in_kernels or kind == around or (kind == HIDE and around in {None, EMPTY}):
            continue
        places[path] = kind
    return places


def _readable(box: Mapping[str, Any]) -> list[str]:
    return [*box.get("readable", ()), *OWN_FILES, NAME_SERVERS]


def _leads_out(path: str, real: str, writable: Sequence[str]) -> bool:
    """Tell a path below a writable one that by now means something elsewhere.

    Whoever may write there could have put a link in its place.
    """
    above = [other for other in writable if is_below(path, [other])]
    return any(not is_below(real, [os.path.realpath(other)]) for other in above)


def _cover(path: str, places: Mapping[str, str]) -> str | None:
    """Give the kind of the nearest place above a path; None where there is none."""
    while path != "/":
        path = os.path.dirname(path)  # noqa: PTH120
        if path in places:
            return places[path]
    return None


def _new_folders(path: str, places: Mapping[str, str]) -> Iterator[str]:
    """Give the directories above a path that nothing brings along."""
    while (path := os.path.dirname(path)) != "/":  # noqa: PTH120
        if path in places or _cover(path, places) in {READ, WRITE}:
            return
        yield path


def _links(box: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give the symbolic links without which a path would not lead where it does outside."""
    writable = list(box.get("writable", ()))
    for path in [*_readable(box), *writable, box["python"]]:
        real = os.path.realpath(path)
        if not os.path.exists(real) or _leads_out(path, real, writable):  # noqa: PTH110
            continue
        for where, target in _on_the_way(path):
            visible = where in places or _cover(where, places) in {READ, WRITE}
            if not visible and not is_below(where, KERNELS):
                yield where, target


def _on_the_way(path: str) -> Iterator[tuple[str, str]]:
    """Follow a path as the kernel does; give each symbolic link met and what it says."""
    pending, here, met = path.split("/"), "/", 0
    while pending and met < MOST_LINKS:
        name = pending.pop(0)
        there = os.path.normpath(os.path.join(here, name))  # noqa: PTH118
        if os.path.islink(there):  # noqa: PTH114
            target = os.readlink(there)  # noqa: PTH115
            yield there, target
            met += 1
            pending[:0] = target.split("/")
            here = "/" if target.startswith("/") else here
        else:
            here = there


def _mount(path: str, kind: str, target: str) -> list[str]:
    if kind == LINK:
        return ["--symlink", target, path]
    if kind == FOLDER:
        return ["--dir", path]
    if kind == EMPTY or (kind == HIDE and os.path.isdir(path)):  # noqa: PTH112
        return ["--tmpfs", path]
    if kind == HIDE:
        return ["--ro-bind", NOTHING, path]
    # What was there a moment ago and is gone, such as a socket below /run, is nothing to fail at.
    return ["--bind" if kind == WRITE else "--ro-bind-try", path, path]
