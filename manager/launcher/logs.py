"""The end of an instance's log, as text for a page."""

from __future__ import annotations

import os
import re
from pathlib import Path

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])"  # CSI, OSC, two-byte
)
"""Terminal control sequences, ECMA-48 §5.4 and §8.3.89; newer ComfyUI colours its log."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def tail(path: Path, max_bytes: int) -> str:
    """Read the end of a log and, when it was just emptied, of the old copy before it.

    Blocks for the reading: call through ``runtime.offload``. Never raises for a missing file.

    Args:
        path: the log; ``path.1`` is the old copy.
        max_bytes: how much is read at most.
    """
    content = _last_bytes(path, max_bytes)
    if len(content) < max_bytes:
        content = _last_bytes(path.with_name(path.name + ".1"), max_bytes - len(content)) + content
    return plain(content.decode("utf-8", "replace"))


def plain(text: str) -> str:
    """Take out colours and control characters; of a redrawn progress bar the last state stays."""
    text = _ESCAPES.sub("", text).replace("\r\n", "\n")
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return _CONTROLS.sub("", "\n".join(lines))


def _last_bytes(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - count))
            return file.read(count)
    except OSError:
        return b""
