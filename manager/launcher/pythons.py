"""Where a Python keeps what it needs to run. Looks at files, runs nothing."""

from __future__ import annotations

import os
from pathlib import Path

MOST_LINKS = 40
"""In a row: as many as the kernel follows (path_resolution(7))."""


def homes(program: str) -> tuple[Path, ...]:
    """List the folders an interpreter needs: of every link on the way to it, and of itself.

    A virtual environment's interpreter is a link, or a copy, and the standard library stands with
    the one that it was made from: ``home`` in its ``pyvenv.cfg`` names that one's folder (Python
    documentation, "site").
    """
    found: list[Path] = []
    for path in _links(Path(program).absolute()):
        folder = _home(path)
        found += [folder, _real(folder)]
        origin = _origin(folder)
        if origin is not None:
            base = _home(origin / path.name)
            found += [base, _real(base)]
    return tuple(dict.fromkeys(found))


def _links(path: Path) -> list[Path]:
    seen = [path]
    while seen[-1].is_symlink() and len(seen) <= MOST_LINKS:
        # Not normalised: what ``..`` means depends on the links before it.
        seen.append(_real(seen[-1].parent) / seen[-1].readlink())
    return [*seen, _real(path)]


def _real(path: Path) -> Path:
    # Unlike Path.resolve, this does not raise where links run in a ring.
    return Path(os.path.realpath(path))


def _home(program: Path) -> Path:
    """Give the whole installation where it is one, else no more than the program's own folder.

    A script in ``~/bin`` must not open the home directory, nor ``/bin/python3`` the whole disk.
    """
    prefix = program.parent.parent
    is_one = (prefix / "pyvenv.cfg").is_file() or any(prefix.glob("lib*/python3*"))
    return prefix if is_one and prefix != Path(prefix.anchor) else program.parent


def _origin(prefix: Path) -> Path | None:
    try:
        lines = (prefix / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    pairs = (line.partition("=") for line in lines)
    values = [value.strip() for name, _, value in pairs if name.strip() == "home"]
    return Path(values[0]) if values and Path(values[0]).is_absolute() else None
