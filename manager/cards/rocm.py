"""What ``rocm-smi`` prints of AMD cards: JSON, or comma-separated with a header; all values texts.

Its keys change between versions and cards; each is looked for by its words. ``cardN`` is taken for
the number that HIP_VISIBLE_DEVICES takes, which holds where every card is one that ROCm uses. The
tool does not say which processes are on which card in a form that is the same everywhere, so none
are told.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping

from manager.cards.reading import (
    Reading,
    Unreadable,
    celsius,
    memory,
    percent,
    size,
    watts,
)
from manager.cards.tool import Run

TOOL = "rocm-smi"
_TOPICS = ("--showproductname", "--showuse", "--showmeminfo", "vram", "--showtemp", "--showpower")

_CARD = re.compile(r"card([0-9]{1,4})\Z")
_SENSORS = ("junction", "edge")
"""The hottest spot first: it is what the card slows down by."""


def read_cards(text: str) -> list[Reading]:
    """Read ``--json`` or ``--csv``.

    Raises:
        Unreadable: no card is shown.
    """
    start = text.find("{")
    cards = _from_json(text[start:]) if start >= 0 else _from_csv(text)
    found = [_reading(int(name[4:]), values) for name, values in cards.items()]
    if not found:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        raise Unreadable(f"{TOOL} shows no card: {lines[-1][:160] if lines else 'nothing'}")
    return found


def _from_json(text: str) -> dict[str, Mapping[str, object]]:
    try:
        # Warnings may stand before and after it.
        content, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{TOOL} printed no JSON: {text[:80]!r}") from error
    if not isinstance(content, dict):
        return {}
    return {k: v for k, v in content.items() if _CARD.match(k) and isinstance(v, dict)}


def _from_csv(text: str) -> dict[str, Mapping[str, object]]:
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("device,")), len(lines))
    try:
        rows = list(csv.DictReader(lines[start:]))
    except csv.Error as error:
        raise Unreadable(f"{TOOL} printed no table: {error}") from error
    if any(None in row or None in row.values() for row in rows):
        raise Unreadable(f"a line of {TOOL} does not fit its header")
    return {row["device"]: dict(row) for row in rows if _CARD.match(row["device"])}


def _reading(device: int, values: Mapping[str, object]) -> Reading:
    used, total = memory(
        size(values.get("VRAM Total Used Memory (B)")), size(values.get("VRAM Total Memory (B)"))
    )
    return Reading(
        device=device,
        name=_name(values),
        memory_used=used,
        memory_total=total,
        utilisation=percent(values.get("GPU use (%)")),
        temperature=celsius(_temperature(values)),
        power=watts(_first(values, lambda key: key.endswith("Power (W)") and "Max" not in key)),
    )


def _name(values: Mapping[str, object]) -> str:
    titles = ("Card Series", "Card series", "Card SKU", "GFX Version")
    names = (str(values.get(title, "N/A")) for title in titles)
    return next((name for name in names if name != "N/A"), "")


def _temperature(values: Mapping[str, object]) -> object:
    for sensor in _SENSORS:
        found = values.get(f"Temperature (Sensor {sensor}) (C)")
        if found is not None:
            return found
    return None


def _first(values: Mapping[str, object], wanted: Callable[[str], bool]) -> object:
    return next((value for key, value in values.items() if wanted(key)), None)


def read(run: Run) -> list[Reading]:
    """Ask rocm-smi for every card.

    Raises:
        Unreadable: nothing can be known of any.
    """
    return read_cards(run([TOOL, *_TOPICS, "--json"]))
