"""What ``npu-smi`` prints of Ascend cards, read by the words of its headers.

Five table widths and four sets of columns are known (npu-smi 1.8 to 26.1), so neither a column's
place nor a separator means anything: an upper and a lower header line name the columns, and each
two lines after them are one chip. A chip has several numbers; ``ASCEND_RT_VISIBLE_DEVICES`` takes
the *logic* id, which ``npu-smi info -m`` tells (CANN documentation, "ASCEND_RT_VISIBLE_DEVICES").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from manager.cards.ascend_blocks import Block, processes_of, read_blocks
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

TOOL = "npu-smi"

Chip = tuple[int, int]
"""NPU id and chip id; a card without a chip column counts as chip 0."""

_PHRASES = re.compile(
    r"NPU ID|Slot ID|Chip ID|Chip Logic ID|Chip Phy-ID|Chip Name|NPU Util\(%\)"
    r"|Process id in container|Process id|Process name|Process memory\(MB\)|\S+"
)
_TOKENS = re.compile(r"[0-9]+\s*/\s*[0-9]+|\S+")
_IDLE = re.compile(r"No running processes found in NPU\s+([0-9]{1,9})\s*\Z")
_WORD = re.compile(r"[A-Za-z]+\Z")
_BUS = re.compile(r"[0-9A-Fa-f]+(:[0-9A-Fa-f]+)+\.[0-9A-Fa-f]+\Z|NA\Z")
_LONG = frozenset({"Name", "Chip Name", "Process name"})
"""Columns whose value may have blanks in it, or be empty."""

Row = Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """What ``npu-smi info`` shows. ``device_ids`` are those that the table itself names."""

    readings: Mapping[Chip, Reading]
    processes: Mapping[Chip, tuple[CardProcess, ...]]
    device_ids: Mapping[Chip, int]


def read_table(text: str) -> Table:
    """Read ``npu-smi info``.

    Raises:
        Unreadable: it is no such table, or a line of it fits nothing.
    """
    header: list[list[str]] = []
    chips: list[Row] = []
    listed: list[Row] = []
    idle: set[int] = set()
    part = "before"
    for cells in _lines(text):
        names = [_PHRASES.findall(cell) for cell in cells]
        flat = [name for cell in names for name in cell]
        said = _IDLE.match(cells[0]) if len(cells) == 1 else None
        if "Process id" in flat:
            part, header = "processes", names
        elif "Health" in flat and "Name" in flat:
            part, header = "upper header", names
        elif part == "upper header" and "Bus-Id" in flat:
            part, lower, upper = "chips", names, header
        elif part == "chips":
            header = lower if len(chips) % 2 else upper
            chips.append(_row(header, cells))
        elif part == "processes" and said:
            idle.add(int(said[1]))
        elif part == "processes":
            listed.append(_row(header, cells))
    if part in {"before", "upper header"}:
        raise Unreadable(refusal(text))
    return _table(chips, listed, idle)


def _lines(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("|") and stripped.endswith("|") and len(stripped) > 1:
            yield [cell.strip() for cell in stripped[1:-1].split("|")]


def _row(header: Sequence[Sequence[str]], cells: Sequence[str]) -> Row:
    if len(cells) != len(header):
        raise Unreadable(f"a line of {TOOL} does not fit its header: {' | '.join(cells)[:80]}")
    row: dict[str, str] = {}
    for names, cell in zip(header, cells, strict=True):
        row.update(_fields(names, cell))
    return row


def _fields(names: Sequence[str], cell: str) -> Row:
    """Give each name of a header's cell its value; only the last one may be long or empty."""
    tokens = _TOKENS.findall(cell)
    if names and names[-1] in _LONG:
        head = len(names) - 1
        tokens = [*tokens[:head], " ".join(tokens[head:])]
    if len(tokens) != len(names):
        raise Unreadable(f"a field of {TOOL} does not fit its header: {cell[:80]!r}")
    return dict(zip(names, tokens, strict=True))


def _table(chips: Sequence[Row], listed: Sequence[Row], idle: set[int]) -> Table:
    readings: dict[Chip, Reading] = {}
    ids: dict[Chip, int] = {}
    # A last upper line without its lower one was cut off: that chip is not known.
    for upper, lower in zip(chips[::2], chips[1::2], strict=False):
        chip = _chip(upper, lower)
        if chip in readings:
            raise Unreadable(f"{TOOL} shows NPU {chip[0]} chip {chip[1]} twice")
        readings[chip] = _reading(upper, lower)
        device = whole(lower.get("Device"))
        if device is not None:
            ids[chip] = device
    if not readings:
        raise Unreadable(f"{TOOL} shows no card")
    processes: dict[Chip, tuple[CardProcess, ...]] = {}
    for row in listed:
        chip = _chip(row, row)
        processes[chip] = (*processes.get(chip, ()), _process(row))
    busy = {npu for npu, _ in processes}
    for chip in readings:
        if chip[0] in idle | busy:
            processes.setdefault(chip, ())
    return Table(readings, processes, ids)


def _chip(upper: Row, lower: Row) -> Chip:
    npu = whole(upper.get("NPU", upper.get("NPU ID", "")))
    chip = whole(lower.get("Chip", "0"))
    if npu is None or chip is None:
        raise Unreadable(f"{TOOL} shows a card without a number")
    return npu, chip


def _reading(upper: Row, lower: Row) -> Reading:
    health = upper.get("Health", "")
    if not _WORD.match(health) or not _BUS.match(lower.get("Bus-Id", "NA")):
        raise Unreadable(f"{TOOL} shows a card whose two lines do not belong together")
    used, total = _memory(lower)
    return Reading(
        device=-1,
        name=upper.get("Name", ""),
        health=health.lower(),
        memory_used=used,
        memory_total=total,
        utilisation=percent(lower.get("NPU Util(%)", lower.get("AICore(%)"))),
        temperature=celsius(upper.get("Temp(C)")),
        power=watts(upper.get("Power(W)")),
    )


def _memory(row: Row) -> tuple[int | None, int | None]:
    """Give HBM where the card has any, else its DDR: 310P has no HBM, 910A has both."""
    for column in ("HBM-Usage(MB)", "Memory-Usage(MB)"):
        used, _, total = row.get(column, "").partition("/")
        if size(total):
            return memory(size(used, MIB), size(total, MIB))
    return None, None


def _process(row: Row) -> CardProcess:
    name, used = row.get("Process name", ""), size(row.get("Process memory(MB)"), MIB)
    inside = whole(row.get("Process id in container"))
    return CardProcess(whole(row.get("Process id")), used, name, inside=inside)


def read_map(text: str) -> dict[Chip, int]:
    """Read ``npu-smi info -m``: which chip has which logic id.

    Ascend 950 has no logic id; there the NPU id stands in its place.

    Raises:
        Unreadable: it is no such table, or two chips would have the same id.
    """
    lines = [line.split() for line in text.splitlines()]
    titles = [_PHRASES.findall(line.strip()) for line in text.splitlines()]
    start = next((n for n, names in enumerate(titles) if {"NPU ID", "Chip ID"} <= {*names}), None)
    if start is None:
        raise Unreadable(refusal(text))
    names = titles[start]
    column = "Chip Logic ID" if "Chip Logic ID" in names else "NPU ID"
    found: dict[Chip, int] = {}
    for tokens in filter(None, lines[start + 1 :]):
        row = dict(zip(names, tokens, strict=False))
        if row.get(column) == "-" or row.get("Chip Name", "").lower() == "mcu":
            continue
        npu, chip, device = (whole(row.get(name, "")) for name in ("NPU ID", "Chip ID", column))
        if npu is None or chip is None or device is None or device in found.values():
            raise Unreadable(f"a line of {TOOL} info -m makes no sense: {' '.join(tokens)[:80]}")
        found[npu, chip] = device
    if not found:
        raise Unreadable(f"{TOOL} info -m shows no card")
    return found


def refusal(text: str) -> str:
    """Say in a line why the tool shows nothing, in its own words where it has any."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "ret is" in line), lines[-1] if lines else "")
    return f"{TOOL}: {said[:160]}" if said else f"{TOOL} printed nothing"


def read(run: Run) -> list[Reading]:
    """Ask npu-smi for every card.

    Raises:
        Unreadable: nothing can be known of any.
    """
    table = read_table(run([TOOL, "info"]))
    try:
        logic = read_map(run([TOOL, "info", "-m"]))
    except Unreadable:
        # On 310P the table's Device column is the same number; Phy-ID and NPU id are not.
        if not table.device_ids:
            raise
        logic = dict(table.device_ids)
    found = []
    for npu in dict.fromkeys(npu for npu, _ in table.readings):
        chips = [chip for chip in table.readings if chip[0] == npu]
        found += [
            replace(one, device=logic[chip])
            for chip, one in _complete(run, table, npu, chips).items()
            if chip in logic
        ]
    if not found:
        raise Unreadable(f"{TOOL} info and info -m name different cards")
    return found


def _complete(run: Run, table: Table, npu: int, chips: list[Chip]) -> dict[Chip, Reading]:
    """Give an NPU's chips, asking for what the table does not show."""
    ones = {
        chip: replace(table.readings[chip], processes=table.processes.get(chip)) for chip in chips
    }
    if any(one.memory_total is None or one.utilisation is None for one in ones.values()):
        for topic in ("usages", "common"):
            blocks = _ask(run, topic, npu)
            ones = {chip: _filled(one, blocks.get(chip[1])) for chip, one in ones.items()}
    if any(one.processes is None for one in ones.values()):
        told = processes_of(_ask_text(run, "proc-mem", npu))
        for chip, one in ones.items():
            if one.processes is None:
                ones[chip] = replace(one, processes=told.get(chip[1]))
    return ones


def _ask(run: Run, topic: str, npu: int) -> Mapping[int, Block]:
    try:
        return read_blocks(_ask_text(run, topic, npu))
    except Unreadable:
        return {}


def _ask_text(run: Run, topic: str, npu: int) -> str:
    try:
        return run([TOOL, "info", "-t", topic, "-i", str(npu)])
    except Unreadable:
        return ""


def _filled(one: Reading, block: Block | None) -> Reading:
    if block is None:
        return one
    used, total = block.memory if one.memory_total is None else (one.memory_used, one.memory_total)
    return replace(
        one,
        memory_used=used,
        memory_total=total,
        utilisation=block.utilisation if one.utilisation is None else one.utilisation,
        temperature=block.temperature if one.temperature is None else one.temperature,
        power=block.power if one.power is None else one.power,
    )
