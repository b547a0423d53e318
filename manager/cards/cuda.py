"""What ``nvidia-smi`` prints of NVIDIA cards: comma-separated tables, read by their header line.

The header names each column and its unit, so a column that a driver does not know, or adds, moves
nothing ("nvidia-smi --help-query-gpu"). The launcher sets CUDA_DEVICE_ORDER=PCI_BUS_ID, in which
the tool's index is the number that CUDA_VISIBLE_DEVICES takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from manager.cards.reading import (
    MIB,
    CardProcess,
    Reading,
    Unreadable,
    celsius,
    memory,
    percent,
    size,
    watts,
    whole,
)
from manager.cards.tool import Run

TOOL = "nvidia-smi"
_CARDS = "index,uuid,name,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw"
_PROCESSES = "gpu_uuid,pid,process_name,used_gpu_memory"

_TITLE = re.compile(r"\s*([a-z0-9_.]+)\s*(?:\[([A-Za-z%]+)\])?\s*\Z")
_UNITS = {"KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30, "": MIB}
"""``nounits`` leaves MiB, which is what the tool counts in."""

Row = Mapping[str, str]


def read_cards(text: str) -> dict[int, tuple[str, Reading]]:
    """Read ``--query-gpu``: uuid and reading by index; of a card shown again the last line counts.

    Raises:
        Unreadable: there is no header with an index, or a line does not fit it.
    """
    found: dict[int, tuple[str, Reading]] = {}
    for row in _rows(text, "index"):
        index = whole(row["index"])
        if index is None:
            raise Unreadable(f"{TOOL} shows a card without a number: {row['index'][:40]!r}")
        found[index] = (row.get("uuid", ""), _reading(index, row))
    if not found:
        raise Unreadable(f"{TOOL} shows no card: {_last_line(text)}")
    return found


def read_processes(text: str) -> list[tuple[str, CardProcess]]:
    """Read ``--query-compute-apps``: the card's uuid, empty if not shown, and the process.

    Raises:
        Unreadable: there is no header with a pid, or a line does not fit it.
    """
    found = []
    for row in _rows(text, "pid"):
        used = _amount(row.get("used_gpu_memory", row.get("used_memory", "")))
        process = CardProcess(whole(row["pid"]), used, row.get("process_name", ""))
        found.append((row.get("gpu_uuid", ""), process))
    return found


def _rows(text: str, wanted: str) -> Iterator[Row]:
    """Give the rows below the header that has the wanted column."""
    titles: list[str] = []
    seen = False
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        header = [found[1] for found in map(_TITLE.match, parts) if found]
        if len(header) == len(parts) and {"index", "pid"} & {*header}:
            titles, seen = header, seen or wanted in header
        elif line.strip() and wanted in titles:
            yield _row(titles, parts)
    if not seen:
        raise Unreadable(f"{TOOL} printed no header with {wanted}: {_last_line(text)}")


def _row(titles: Sequence[str], parts: list[str]) -> Row:
    more = len(parts) - len(titles)
    if more > 0 and "process_name" in titles:
        # Nothing is quoted: the commas belong to a process's name.
        at = titles.index("process_name")
        parts = [*parts[:at], ",".join(parts[at : at + more + 1]), *parts[at + more + 1 :]]
    if len(parts) != len(titles):
        raise Unreadable(f"a line of {TOOL} does not fit its header: {', '.join(parts)[:80]}")
    return dict(zip(titles, parts, strict=True))


def _reading(index: int, row: Row) -> Reading:
    used, total = memory(_amount(row.get("memory.used", "")), _amount(row.get("memory.total", "")))
    return Reading(
        device=index,
        name=row.get("name", ""),
        memory_used=used,
        memory_total=total,
        utilisation=percent(row.get("utilization.gpu", "").removesuffix("%")),
        temperature=celsius(row.get("temperature.gpu")),
        power=watts(row.get("power.draw", "").removesuffix("W")),
    )


def _amount(text: str) -> int | None:
    value, _, unit = text.strip().partition(" ")
    return size(value, _UNITS[unit]) if unit in _UNITS else None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "it printed nothing"


def read(run: Run) -> list[Reading]:
    """Ask nvidia-smi for every card.

    Raises:
        Unreadable: nothing can be known of any.
    """
    cards = read_cards(run([TOOL, f"--query-gpu={_CARDS}", "--format=csv"]))
    try:
        rows = read_processes(run([TOOL, f"--query-compute-apps={_PROCESSES}", "--format=csv"]))
    except Unreadable:
        return [one for _, one in cards.values()]
    return join(cards, rows)


def join(
    cards: Mapping[int, tuple[str, Reading]], rows: Sequence[tuple[str, CardProcess]]
) -> list[Reading]:
    """Give each card its processes; where one names no card of these, nobody's list is complete."""
    uuids = {uuid for uuid, _ in cards.values()}
    if "" in uuids or any(uuid not in uuids for uuid, _ in rows):
        return [one for _, one in cards.values()]
    return [
        replace(one, processes=tuple(process for owner, process in rows if owner == uuid))
        for uuid, one in cards.values()
    ]
