"""``npu-smi info -t usages|common|proc-mem``: lines of ``key : value``, a block for each chip.

In ``usages`` and ``proc-mem`` the chip's number comes after its block, in ``common`` before it.
Asked only for what the table of ``npu-smi info`` does not show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from manager.cards.reading import (
    MIB,
    CardProcess,
    Unreadable,
    celsius,
    memory,
    percent,
    size,
    watts,
    whole,
)

_CHIP, _HEAD = "Chip ID", frozenset({"NPU ID", "Chip Count"})
_LINE = re.compile(r"\s*([^:]+?)\s*:\s*(.*?)\s*\Z")
_PROCESS = re.compile(
    r"\s*Process id\s*:\s*([0-9]{1,9})\s+Process name\s*:(.*?)"
    r"Process memory\(MB\)\s*:\s*([0-9]{1,9})\s*\Z"
)
_NONE = "No process in device."


@dataclass(frozen=True)
class Block:
    """What a block says of a chip; see ``reading`` for units."""

    memory: tuple[int | None, int | None]
    utilisation: float | None
    temperature: float | None
    power: float | None


def read_blocks(text: str) -> dict[int, Block]:
    """Read ``usages`` or ``common``, by chip id.

    Raises:
        Unreadable: no chip is named in it.
    """
    pairs = [_pair(line) for line in text.splitlines()]
    lines = [pair for pair in pairs if pair is not None and pair[0] not in _HEAD]
    if _CHIP not in dict(lines):
        raise Unreadable("npu-smi names no chip in its answer")
    found: dict[int, Block] = {}
    before = lines[0][0] == _CHIP
    values: dict[str, str] = {}
    chip: int | None = None
    for key, value in lines:
        if key == _CHIP:
            if not before:
                found[_number(value)] = _block(values)
            values, chip = {}, _number(value)
        else:
            # The management controller's block follows its chip's: only what is new in it counts.
            values.setdefault(key, value)
            if before and chip is not None:
                found[chip] = _block(values)
    return found


def processes_of(text: str) -> dict[int, tuple[CardProcess, ...]]:
    """Read ``proc-mem``, by chip id; a chip that says neither «none» nor who is left out."""
    found: dict[int, tuple[CardProcess, ...]] = {}
    listed: list[CardProcess] = []
    said = False
    for line in text.splitlines():
        process, pair = _PROCESS.match(line), _pair(line)
        if process:
            listed.append(CardProcess(int(process[1]), size(process[3], MIB), process[2].strip()))
        elif line.strip() == _NONE:
            said = True
        elif pair is not None and pair[0] == _CHIP:
            chip = whole(pair[1])
            if chip is not None and (listed or said):
                found[chip] = tuple(listed)
            listed, said = [], False
    return found


def _pair(line: str) -> tuple[str, str] | None:
    found = _LINE.match(line)
    return (found[1], found[2]) if found else None


def _number(text: str) -> int:
    found = whole(text)
    if found is None:
        raise Unreadable(f"npu-smi names a chip {text[:20]!r}")
    return found


def _block(values: Mapping[str, str]) -> Block:
    return Block(
        memory=_memory(values),
        utilisation=percent(values.get("NPU Utilization(%)", values.get("Aicore Usage Rate(%)"))),
        temperature=celsius(values.get("Temperature(C)")),
        power=watts(values.get("NPU Real-time Power(W)")),
    )


def _memory(values: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Reckon used memory from capacity and whole percent: right to a hundredth of the card."""
    for kind in ("HBM", "DDR"):
        total = size(values.get(f"{kind} Capacity(MB)"), MIB)
        share = percent(values.get(f"{kind} Usage Rate(%)"))
        if total:
            return memory(None if share is None else int(total * share / 100), total)
    return None, None
