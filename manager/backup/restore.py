"""Puts a backup back, here or in a fresh folder. What is there is set aside, never written over.

Everything is unpacked, proven and brought up to date beside its place first; only then do files
change places, each by a rename.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from manager import settings as settings_room
from manager.backup import archive
from manager.backup.archive import (
    BASELINES,
    CADDYFILE,
    DATABASE,
    KEY,
    SETTINGS,
    WEBHOOKS,
    WORKSPACES,
    Manifest,
)
from manager.errors import BadInput, SettingsError, StoreFailed
from manager.settings import Settings
from manager.store import copies

_USER_ID = re.compile(r"(\d+)-")


@dataclass
class Unpacked:
    """A backup, unpacked and proven. ``settings`` are those it will be used with."""

    manifest: Manifest
    files: dict[str, Path]
    settings: Settings
    tar: tarfile.TarFile


@dataclass
class Restored:
    """What was put in place, and what was set aside for it."""

    placed: list[Path] = field(default_factory=list)
    aside: list[Path] = field(default_factory=list)


@contextlib.contextmanager
def unpacked(path: Path, settings: Settings, *, keep_settings: bool) -> Iterator[Unpacked]:
    """Unpack a backup into a folder of its own for the length of the block.

    Args:
        path: the archive.
        settings: those in force; used where the backup brings none or shall not.
        keep_settings: leave its ``manager.toml`` out.

    Raises:
        BadInput: it is no backup, is damaged, or its settings are refused by this version.
        StoreFailed: it cannot be read, or there is no room to unpack it.
    """
    try:
        with (
            tempfile.TemporaryDirectory(prefix="comfyui-manager-restore-") as folder,
            tarfile.open(path, mode="r:gz") as tar,
        ):
            manifest = archive.manifest_of(tar)
            files = archive.files_of(tar, manifest, Path(folder))
            if keep_settings:
                files.pop(SETTINGS, None)
            yield Unpacked(manifest, files, _settings(files, settings), tar)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} is no backup, or is damaged: {error}") from error
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror or error}") from error


def _settings(files: dict[str, Path], present: Settings) -> Settings:
    if SETTINGS not in files:
        return present
    try:
        return settings_room.load(config=files[SETTINGS])
    except SettingsError as error:
        raise BadInput(
            f"this version does not take its manager.toml: {error}; "
            "with --keep-settings it is left out"
        ) from error


def restore(backup: Unpacked, actor: str) -> Restored:
    """Put everything in place. The caller holds the data directory's lock.

    Raises:
        BadInput: the database cannot be used, or was made by a newer version.
        StoreFailed: a file cannot be written; what was set aside is beside its place.
    """
    settings, stamp = backup.settings, time.strftime("%Y%m%d-%H%M%S")
    copies.make_fit(backup.files[DATABASE], backup.manifest.made_at, _used_ids(settings), actor)
    places = {
        SETTINGS: settings_room.config_file(),
        KEY: settings.data_dir / KEY,
        BASELINES: settings.data_dir / BASELINES,
        WEBHOOKS: settings.webhooks_file,
        CADDYFILE: settings.caddyfile,
        DATABASE: settings.database_path,
    }
    done = Restored()
    try:
        if backup.manifest.workspaces:
            _put_workspaces(backup.tar, settings.data_dir, stamp, done)
        for name, place in places.items():
            if name in backup.files:
                _put(backup.files[name], place, stamp, done)
    except (OSError, tarfile.TarError) as error:
        raise StoreFailed(f"not everything could be put in place: {error}") from error
    return done


def _used_ids(settings: Settings) -> int:
    """Give the highest user id that a folder or an account of the present database has."""
    folders = settings.data_dir / WORKSPACES
    names = [path.name for path in folders.iterdir()] if folders.is_dir() else []
    ids = [int(found[1]) for found in map(_USER_ID.match, names) if found]
    return max([copies.highest_user_id(settings.database_path), *ids])


def _put_workspaces(tar: tarfile.TarFile, data_dir: Path, stamp: str, done: Restored) -> None:
    fresh = data_dir / f".{WORKSPACES}.{stamp}"
    fresh.mkdir(mode=0o700)
    archive.extract_tree(tar, fresh)
    _swap(fresh, data_dir / WORKSPACES, stamp, done)


def _put(source: Path, place: Path, stamp: str, done: Restored) -> None:
    place = Path(os.path.realpath(place))
    place.parent.mkdir(parents=True, exist_ok=True)
    # What begins with the name of such a file is hidden from instances.
    fresh = place.with_name(f"{place.name}.restored-{stamp}")
    with (
        source.open("rb") as old,
        os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new,
    ):
        shutil.copyfileobj(old, new)
        if os.geteuid() == 0:
            # Root may restore for the account that the manager runs as.
            owner = (place if place.exists() else place.parent).stat()
            os.fchown(new.fileno(), owner.st_uid, owner.st_gid)
        new.flush()
        os.fsync(new.fileno())
    _swap(fresh, place, stamp, done)


def _swap(fresh: Path, place: Path, stamp: str, done: Restored) -> None:
    # A database's journal belongs to it, and would be played into another one in its place.
    for tail in ("-wal", "-shm", ""):
        there = place.with_name(place.name + tail)
        if os.path.lexists(there):
            aside = place.with_name(f"{place.name}.before-restore-{stamp}{tail}")
            there.rename(aside)
            done.aside.append(aside)
    fresh.rename(place)
    done.placed.append(place)
    descriptor = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
