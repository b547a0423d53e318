"""What a comparison says: the figures of both sides, and whether ours is where it should be."""

from __future__ import annotations

from dataclasses import dataclass


class Missing(Exception):
    """The peer cannot be had or run here; the message says why."""


@dataclass(frozen=True)
class Row:
    """One line of the table, as text; ``met`` None where there is no target."""

    what: str
    peer: str
    ours: str
    ratio: str
    target: str
    met: bool | None

    def cells(self) -> tuple[str, ...]:
        """Give the line's cells."""
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return self.what, self.peer, self.ours, self.ratio, self.target, met


HEAD = "| | JupyterHub | ours | ours / peer | target | met |\n|---|---|---|---|---|---|"


def ratio(ours: float, theirs: float) -> str:
    """Say how many times the peer's figure ours is."""
    if theirs <= 0:
        return "–"
    return f"{max(0.0, ours) / theirs:.2f}"


def spread(values: list[float], digits: int = 2) -> str:
    """Write the median, and lowest to highest beside it where there are several."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    if len(ordered) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({ordered[0]:.{digits}f}–{ordered[-1]:.{digits}f})"


def line(row: Row) -> str:
    """Write a line of a Markdown table."""
    return "| " + " | ".join(row.cells()) + " |"
