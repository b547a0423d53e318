"""What the drivers' tools printed on real cards; tests/data/cards holds it as it was."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "data" / "cards"


def sample(name: str) -> str:
    """Read one, by the beginning of its name."""
    (found,) = FOLDER.glob(f"{name}*")
    return found.read_text(encoding="utf-8")


def names(prefix: str) -> list[str]:
    """List those of a kind."""
    return sorted(path.name for path in FOLDER.glob(f"{prefix}*"))
