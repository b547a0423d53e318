"""What is told and not over, and which hooks fail: kept for the next manager and the doctor.

A small file, written when something changes. Without an address in it, nor anything secret.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from manager.alerts import Told
from manager.settings import Settings
from manager.webhooks.delivery import Failing

logger = logging.getLogger(__name__)


def place(settings: Settings) -> Path:
    """Say where it is."""
    return settings.data_dir / "alerts.json"


def load(path: Path) -> tuple[list[Told], list[Failing]]:
    """Read both; nothing where there is no such file, or it makes no sense."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return (
            [Told(**one) for one in found["active"]],
            [Failing(**one) for one in found["failing"]],
        )
    except (OSError, ValueError, LookupError, TypeError):
        return [], []


def save(path: Path, active: Iterable[Told], failing: Iterable[Failing]) -> None:
    """Write both, whole or not at all; a disk that takes nothing is logged and no more."""
    text = json.dumps({"active": list(map(asdict, active)), "failing": list(map(asdict, failing))})
    draft = path.with_suffix(".new")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        # Told once more after a restart, that is all.
        logger.warning("%s cannot be written: %s", path, error.strerror)
