"""Stand-ins for the drivers' tools: small programs on PATH that print what a test says.

They also sleep, fail and print without end, and leave a child behind while they do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from manager.cards.reading import CardProcess

SCRIPT = """#!/bin/sh
# {name}: prints the file of its words, after what the test asked for.
folder='{folder}'
echo "$$" >> "$folder/pids"
if [ -f "$folder/sleep" ]; then
  sleep "$(cat "$folder/sleep")" & echo "$!" >> "$folder/pids"; wait
fi
if [ -f "$folder/endless" ]; then while :; do echo endless endless endless endless; done; fi
if [ -f "$folder/fails" ]; then cat "$folder/fails"; exit 187; fi
case "$*" in
{cases}
*) echo "no such words: $*"; exit 1;;
esac
"""


@dataclass(frozen=True)
class Npu:
    """One card as npu-smi shows it; memory in MiB."""

    npu: int
    used: int = 2900
    total: int = 65536
    health: str = "OK"
    processes: tuple[CardProcess, ...] = ()
    use: int = 0
    celsius: int = 39


class Tool:
    """A program on PATH; what it does is changed through its folder."""

    def __init__(self, folder: Path, name: str, words: Mapping[str, str]) -> None:
        """Make it; ``words`` are patterns of its command line and the files they print."""
        self.folder = folder
        self.path = folder / "bin"
        self.path.mkdir(parents=True)
        cases = "\n".join(f"{pattern}) cat '{folder}/{file}';;" for pattern, file in words.items())
        program = self.path / name
        program.write_text(SCRIPT.format(name=name, folder=folder, cases=cases), encoding="utf-8")
        program.chmod(0o755)

    @property
    def env(self) -> dict[str, str]:
        """Give the PATH on which it is found first."""
        return {"PATH": f"{self.path}:{os.environ['PATH']}"}

    def prints(self, file: str, text: str) -> None:
        """Have a file's text printed from now on, all of it or the old one."""
        fresh = self.folder / f"{file}.new"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.folder / file)

    def does(self, what: str, value: str = "") -> None:
        """Have it ``sleep``, print ``endless`` or ``fails``."""
        self.prints(what, value)

    def stops(self, what: str) -> None:
        """Have it no longer do something."""
        (self.folder / what).unlink()

    def pids(self) -> list[int]:
        """List the processes that it was, and those it left behind."""
        try:
            return [int(line) for line in (self.folder / "pids").read_text().split()]
        except FileNotFoundError:
            return []


class NpuSmi(Tool):
    """npu-smi in the layout of version 25."""

    def __init__(self, folder: Path) -> None:
        """Make it; it shows nothing yet."""
        super().__init__(folder, "npu-smi", {"'info'": "info", "'info -m'": "map"})

    def shows(self, cards: Sequence[Npu]) -> None:
        """Show these cards; their logic ids count from 0."""
        self.prints("map", _map(cards))
        self.prints("info", _table(cards))


def _map(cards: Sequence[Npu]) -> str:
    lines = ["NPU ID    Chip ID    Chip Logic ID    Chip Name"]
    for logic, card in enumerate(cards):
        lines += [f"{card.npu} 0 {logic} Ascend 910B3", f"{card.npu} 1 - Mcu"]
    return "\n".join(lines) + "\n"


def _table(cards: Sequence[Npu]) -> str:
    lines = [
        "| npu-smi 25.5.2                   Version: 25.5.2 |",
        "| NPU   Name | Health | Power(W)    Temp(C)           Hugepages-Usage(page)|",
        "| Chip       | Bus-Id | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |",
    ]
    for card in cards:
        lines += [
            f"| {card.npu} 910B3 | {card.health} | 92.5 {card.celsius} 0    / 0 |",
            f"| 0 | 0000:C1:00.0 | {card.use} 0    / 0 {card.used} / {card.total} |",
        ]
    lines.append("| NPU     Chip | Process id | Process name | Process memory(MB) |")
    for card in cards:
        for one in card.processes:
            used = (one.memory or 0) >> 20
            lines.append(f"| {card.npu} 0 | {one.pid} | {one.name} | {used} |")
        if not card.processes:
            lines.append(f"| No running processes found in NPU {card.npu} |")
    return "\n".join(lines) + "\n"
