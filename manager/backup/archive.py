"""The archive: a tar of known names, with a manifest that says what each holds.

``manifest.json`` comes first. Workspaces are stored with their owners' numbers, for accounts of
instances have no names.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from manager.errors import BadInput

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE, SETTINGS, KEY = "comfyui_manager.db", "manager.toml", "secret_key"
BASELINES, CADDYFILE, WEBHOOKS = "card_baselines.json", "Caddyfile", "webhooks.toml"
FILES = (DATABASE, SETTINGS, KEY, BASELINES, CADDYFILE, WEBHOOKS)
WORKSPACES = "workspaces"
MOST_BYTES = 1 << 20
"""A manifest, settings or a key is never so long."""


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself. ``made_at`` is in UTC epoch seconds, ``sha256`` by name."""

    version: str
    schema: int
    made_at: float
    workspaces: bool
    sha256: dict[str, str]
    format: int = FORMAT


def add_bytes(tar: tarfile.TarFile, name: str, content: bytes, at: float) -> None:
    """Add a file of our own making."""
    told = tarfile.TarInfo(name)
    told.size, told.mtime, told.mode = len(content), int(at), 0o600
    tar.addfile(told, io.BytesIO(content))


def add_manifest(tar: tarfile.TarFile, manifest: Manifest) -> None:
    """Add what the archive says of itself."""
    text = json.dumps(asdict(manifest), indent=2)
    add_bytes(tar, MANIFEST, text.encode("utf-8"), manifest.made_at)


def sha256(path: Path) -> str:
    """Give a file's SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def add_tree(tar: tarfile.TarFile, folder: Path, name: str) -> int:
    """Add a folder that its owners may be changing meanwhile; no link is followed.

    Each file is opened from the folder it was listed in: a folder that somebody swaps for a link
    to another place is not walked into. Sockets, pipes and devices are left out.

    Returns:
        How many entries could not be read and are missing.
    """
    missing: list[OSError] = []
    walk = os.fwalk(folder, follow_symlinks=False, onerror=missing.append)
    for path, _folders, files, descriptor in walk:
        inside = Path(name) / Path(path).relative_to(folder)
        tar.addfile(_told(str(inside), os.fstat(descriptor)))
        # Links to folders are among the folders.
        for entry in (*files, *_folders):
            try:
                _add(tar, entry, str(inside / entry), descriptor)
            except OSError as error:  # noqa: PERF203 - it went away, or may not be read
                missing.append(error)
    return len(missing)


def _add(tar: tarfile.TarFile, entry: str, name: str, folder: int) -> None:
    status = os.stat(entry, dir_fd=folder, follow_symlinks=False)
    told = _told(name, status)
    if stat.S_ISLNK(status.st_mode):
        told.type, told.linkname = tarfile.SYMTYPE, os.readlink(entry, dir_fd=folder)
        tar.addfile(told)
    elif stat.S_ISREG(status.st_mode):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(entry, flags, dir_fd=folder), "rb") as file:
            told = _told(name, os.fstat(file.fileno()))
            told.type, told.size = tarfile.REGTYPE, os.fstat(file.fileno()).st_size
            tar.addfile(told, _Exactly(file, told.size))


def _told(name: str, status: os.stat_result) -> tarfile.TarInfo:
    told = tarfile.TarInfo(name)
    told.type, told.mtime = tarfile.DIRTYPE, int(status.st_mtime)
    # Neither setuid nor setgid: nothing in a workspace may need them.
    told.mode, told.uid, told.gid = status.st_mode & 0o777, status.st_uid, status.st_gid
    return told


class _Exactly(io.RawIOBase):
    """So many bytes of a file, whatever becomes of it meanwhile: cut off, or zeros at the end."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes."""
        wanted = self._left if size < 0 else min(size, self._left)
        piece = self._file.read(wanted).ljust(wanted, b"\0")
        self._left -= wanted
        return piece


def manifest_of(tar: tarfile.TarFile) -> Manifest:
    """Read what an archive says of itself.

    Raises:
        BadInput: it is no archive of this program, or of a newer form.
    """
    first = tar.next()
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > MOST_BYTES:
        raise BadInput("it is no backup of this program: no manifest comes first")
    file = tar.extractfile(first)
    try:
        told = json.loads(file.read() if file else b"")
        manifest = Manifest(**told)
    except (ValueError, TypeError) as error:
        raise BadInput(f"its manifest cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise BadInput(f"its form is {manifest.format}, this version reads {FORMAT}")
    return manifest


def files_of(tar: tarfile.TarFile, manifest: Manifest, folder: Path) -> dict[str, Path]:
    """Put an archive's own files into a folder, each proven to be what was stored.

    Raises:
        BadInput: one is missing or is not what was stored.
    """
    found: dict[str, Path] = {}
    for member in tar:
        if member.name == MANIFEST:
            continue
        if member.name not in FILES or not member.isreg():
            break
        path = folder / member.name
        source = tar.extractfile(member)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            while source is not None and (piece := source.read(1 << 20)):
                file.write(piece)
        if sha256(path) != manifest.sha256.get(member.name):
            raise BadInput(f"{member.name} in it is damaged")
        found[member.name] = path
    missing = manifest.sha256.keys() - found.keys()
    if missing or DATABASE not in found:
        raise BadInput(f"it is not whole: {', '.join(sorted(missing)) or DATABASE} is missing")
    return found


def extract_tree(tar: tarfile.TarFile, folder: Path) -> None:
    """Put the workspaces into a new folder, with their owners' numbers where this is root.

    Links are made last, so that nothing is written through one.

    Raises:
        BadInput: a name leads out of the folder.
    """
    links = []
    for member in _below(tar, WORKSPACES):
        if member.issym():
            links.append(member)
        elif member.isdir() or member.isreg():
            _extract(tar, member, folder)
    for member in links:
        _extract(tar, member, folder)


def _below(tar: tarfile.TarFile, name: str) -> Iterator[tarfile.TarInfo]:
    for member in tar.getmembers():
        parts = Path(member.name).parts
        if parts[:1] != (name,):
            continue
        if ".." in parts:
            raise BadInput(f"{member.name} in it leads out of the workspaces")
        member.name = str(Path(*parts[1:]))
        yield member


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    # Older Pythons of each line know no filters.
    more = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
    tar.extract(member, folder, numeric_owner=True, **more)  # type: ignore[arg-type]
