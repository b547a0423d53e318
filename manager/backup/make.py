"""Makes a backup: a copy of the database, the small files beside it, one archive, then a rename."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import manager
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
)
from manager.errors import BadInput, GateFailed, StoreFailed
from manager.gate import caddyfile, render
from manager.settings import Settings
from manager.store import copies

FOLDER = "backups"
"""Below ``DATA_DIR``, where no other place is named."""

DRAFTS, LEFT_S = ".backup-", 86_400.0
"""What folders of copies begin with in ``DATA_DIR``, and after how long one was left behind."""

GENERATED = re.compile(r"comfyui-manager-\d{8}-\d{6}\.tar\.gz")


@dataclass(frozen=True)
class Made:
    """A backup: where it is, its size in bytes, what went away for it, and what it lacks."""

    path: Path
    size: int
    removed: tuple[Path, ...]
    lacks: tuple[str, ...]


def make(
    settings: Settings, where: Path | None, *, workspaces: bool = False, keep: int = 0
) -> Made:
    """Make a backup, whether a manager runs or not.

    Args:
        settings: those in force.
        where: a new file, or a folder in which a name is made; ``DATA_DIR/backups`` if None.
        workspaces: whether users' files go in.
        keep: how many generated ones stay in the folder, the newest; 0: all.

    Raises:
        BadInput: the file is there already, or ``keep`` does not go with a file.
        StoreFailed: the database is damaged, or the archive cannot be written.
    """
    now = time.time()
    target = _target(settings, where, now)
    if keep and not GENERATED.fullmatch(target.name):
        raise BadInput("--keep goes with a folder, not with a file of your own name")
    _tidy(target.parent, settings.data_dir, now)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as tar:
                lacks = _fill(tar, settings, now, workspaces=workspaces)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise StoreFailed(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return Made(target, target.stat().st_size, _rotate(target, keep), lacks)


def _target(settings: Settings, where: Path | None, now: float) -> Path:
    name = time.strftime("comfyui-manager-%Y%m%d-%H%M%S.tar.gz", time.localtime(now))
    if where is None:
        where = settings.data_dir / FOLDER
        try:
            where.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreFailed(f"{where} cannot be made: {error.strerror}") from error
    target = where / name if where.is_dir() else where
    if target.exists():
        raise BadInput(f"{target} is there already and is not written over")
    return target


def _fill(
    tar: tarfile.TarFile, settings: Settings, now: float, *, workspaces: bool
) -> tuple[str, ...]:
    lacks = []
    with tempfile.TemporaryDirectory(prefix=DRAFTS, dir=settings.data_dir) as name:
        folder = Path(name)
        schema = copies.copy(settings.database_path, folder / DATABASE, now)
        for told, path in _small_files(settings).items():
            if path.is_file():
                (folder / told).write_bytes(path.read_bytes())
        try:
            _own_lines(settings, folder / CADDYFILE)
        except GateFailed as error:
            lacks.append(f"your lines of the Caddyfile: {error}")
        found = [folder / told for told in archive.FILES if (folder / told).exists()]
        digests = {path.name: archive.sha256(path) for path in found}
        archive.add_manifest(
            tar, archive.Manifest(manager.__version__, schema, now, workspaces, digests)
        )
        for path in found:
            with path.open("rb") as file:
                member = tarfile.TarInfo(path.name)
                member.size, member.mode, member.mtime = path.stat().st_size, 0o600, int(now)
                tar.addfile(member, file)
    if workspaces and (settings.data_dir / WORKSPACES).is_dir():
        missing = archive.add_tree(tar, settings.data_dir / WORKSPACES, WORKSPACES)
        if missing:
            lacks.append(f"{missing} entries of workspaces that could not be read")
    return tuple(lacks)


def _small_files(settings: Settings) -> dict[str, Path]:
    return {
        SETTINGS: settings_room.config_file(),
        KEY: settings.data_dir / KEY,
        BASELINES: settings.data_dir / BASELINES,
        WEBHOOKS: settings.webhooks_file,
    }


def _own_lines(settings: Settings, target: Path) -> None:
    """Write the Caddyfile with every gate closed: its tokens and secrets stay out."""
    text = caddyfile.read(settings.caddyfile)
    if text is not None:
        look = render.Look(settings.gate_host, settings.manager_port, settings.https)
        closed = render.render(settings.ports, {}, look, render.read_templates())
        whole = caddyfile.split(text, settings.caddyfile).around(closed)
        target.write_bytes(whole.encode("utf-8"))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tidy(folder: Path, data_dir: Path, now: float) -> None:
    """Remove what backups left that were killed: each holds what the server keeps secret."""
    for path in (*folder.glob(".comfyui-manager-*.tar.gz.*"), *data_dir.glob(f"{DRAFTS}*")):
        try:
            if now - path.lstat().st_mtime < LEFT_S:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError:
            # Somebody else's, or gone: the next one tries again.
            continue


def _rotate(target: Path, keep: int) -> tuple[Path, ...]:
    """Remove all but the newest; ``target``, just made, is one, wherever the clock was set."""
    if not keep:
        return ()
    found = (path for path in target.parent.iterdir() if GENERATED.fullmatch(path.name))
    others = sorted(path for path in found if path != target and path.is_file())
    gone = others[: len(others) - (keep - 1)] if len(others) >= keep else []
    for path in gone:
        path.unlink()
    return tuple(gone)
