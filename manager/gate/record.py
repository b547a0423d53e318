"""The note of which process is our Caddy, for the next manager."""

from __future__ import annotations

import json
from pathlib import Path

from manager import identity
from manager.errors import GateFailed
from manager.identity import Identity


def read(path: Path) -> Identity | None:
    """Give the process that is noted; None where there is no note or it makes no sense."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return identity.from_dict(found) if isinstance(found, dict) else None


def write(path: Path, who: Identity) -> None:
    """Note a process, whole or not at all.

    Raises:
        GateFailed: the note cannot be written.
    """
    draft = path.with_suffix(".new")
    try:
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(who.to_dict()) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise GateFailed(f"{path} cannot be written: {error.strerror}") from error
