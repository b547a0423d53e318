"""What the supervisor leaves in its launch's directory and log; part of that program.

Imports next to nothing, as the supervisor does.
"""

# ruff: noqa: PTH105, PTH123 - the supervisor does without pathlib

from __future__ import annotations

import os

from manager.launcher.below import start_ticks


def say(text: str) -> None:
    """Write one line into the instance's log; a full disk must not matter."""
    try:  # noqa: SIM105
        os.write(2, f"[supervisor] {text}\n".encode("utf-8", "replace"))
    except OSError:
        pass


def write_file(path: str, text: str) -> None:
    """Write a small file whole or not at all."""
    part = path + ".part"
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(file, text.encode()) != len(text.encode()):
            raise OSError(28, "No space left on device")
    finally:
        os.close(file)
    os.replace(part, path)


def write_record(run_dir: str, child: int | None) -> None:
    """Note who is who. Start ticks and the boot's id make the bare numbers unmistakable."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot_id = file.read().strip()
    me = os.getpid()
    text = f'{{"boot_id": "{boot_id}", "supervisor": [{me}, {start_ticks(me)}]'
    if child is not None:
        text += f', "child": [{child}, {start_ticks(child)}]'
    write_file(run_dir + "/record", text + "}\n")


def last_line(path: str) -> str:
    """Give the last line of a log: there a sandbox that cannot be made says why."""
    try:
        with open(path, "rb") as file:
            return file.read()[-1000:].decode(errors="replace").strip().rpartition("\n")[2]
    except OSError:
        return ""


def exit_text(code: int, reason: str) -> str:
    """Write how the child ended as JSON, without importing ``json``."""
    plain = "".join(c for c in reason if c.isprintable() and c not in '"\\')
    return f'{{"code": {code}, "reason": "{plain}"}}\n'
