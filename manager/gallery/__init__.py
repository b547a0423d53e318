"""A user's pictures and films: what lies in his output folder, also while no instance runs.

Reads folders that somebody else's code fills, in a manager that may be root: ``folder.py`` is the
only way in. Decodes nothing in the manager itself (``decoder.py``). Called by ``web`` for the owner
of the folder and nobody else. Every function here touches the disk and is run off the green loop.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path

from manager.errors import NotFound
from manager.gallery import scan, trash
from manager.gallery.folder import Folder, FoundFile, parts_of
from manager.gallery.scan import KINDS, Listing
from manager.gallery.thumbnails import Thumbnails
from manager.gallery.workflow import Workflow, read
from manager.runtime import offload


@dataclass(frozen=True)
class Opened:
    """An open file of a user's; whoever gets it closes ``descriptor``.

    ``version`` names this content of this file, see ``folder.version_of``.
    """

    descriptor: int
    name: str
    size: int
    media_type: str
    version: str


class Gallery:
    """The pictures of all users, each asked for by the name of his workspace."""

    def __init__(self, data_dir: Path) -> None:
        """Keep the places; touches nothing."""
        self._workspaces = data_dir / "workspaces"
        self._thumbnails = Thumbnails(data_dir / "thumbnails")
        self._purging: set[str] = set()
        self._lock = threading.Lock()

    def listing(self, workspace: str | None) -> Listing:
        """List a user's newest files, newest first; empty where he has no folder yet."""
        if workspace is None:
            return scan.NOTHING
        return offload(self._listing, workspace)

    def open(self, workspace: str | None, path: str) -> Opened:
        """Open one file to read.

        Raises:
            NotFound: there is none, or it is not a plain file of this user's own.
        """
        found = offload(self._open, workspace, path)
        name = path.rsplit("/", 1)[-1]
        kind = KINDS[scan.ending(name)].media_type
        return Opened(found.descriptor, name, found.size, kind, found.version)

    def thumbnail(self, workspace: str | None, path: str) -> bytes | None:
        """Give a small WebP picture of a file; None where none can be made.

        Raises:
            NotFound: as for ``open``.
        """
        found: FoundFile = offload(self._open, workspace, path)
        try:
            return self._thumbnails.of(str(workspace), found)
        finally:
            found.close()

    def workflow(self, workspace: str | None, path: str) -> Workflow:
        """Give what ComfyUI wrote into a PNG about how it was made.

        Raises:
            NotFound: as for ``open``.
        """
        found: Workflow = offload(self._workflow, workspace, path)
        return found

    def delete(self, workspace: str | None, path: str) -> str:
        """Move a file into the user's trash, from where it goes for good after a minute.

        Returns:
            The name that ``restore`` wants.

        Raises:
            NotFound: as for ``open``.
        """
        name: str = offload(self._delete, workspace, path)
        self._purge_later(str(workspace))
        return name

    def restore(self, workspace: str | None, path: str, name: str) -> None:
        """Put a file from the trash back where it was.

        Raises:
            NotFound: it is gone for good, or its folder is.
            Conflict: another file has its place by now.
        """
        offload(self._restore, workspace, path, name)

    def _listing(self, workspace: str) -> Listing:
        try:
            with Folder(self._workspaces, workspace) as folder:
                trash.purge(folder)
                return scan.listing(folder)
        except NotFound:
            # A first start gives the name before there is a folder.
            return scan.NOTHING

    def _open(self, workspace: str | None, path: str) -> FoundFile:
        parts = _known(path)
        with Folder(self._workspaces, workspace or "") as folder:
            return folder.open(parts)

    def _workflow(self, workspace: str | None, path: str) -> Workflow:
        found = self._open(workspace, path)
        try:
            return read(found.descriptor)
        finally:
            found.close()

    def _delete(self, workspace: str | None, path: str) -> str:
        parts = _known(path)
        with Folder(self._workspaces, workspace or "") as folder:
            # Whatever has that name must be what was shown: a plain file of the user's own.
            found = folder.open(parts)
            found.close()
            name = trash.throw(folder, parts)
        # What it showed goes with it; put back, the picture has one made anew.
        self._thumbnails.forget(str(workspace), found.version)
        return name

    def _restore(self, workspace: str | None, path: str, name: str) -> None:
        parts = _known(path)
        with Folder(self._workspaces, workspace or "") as folder:
            trash.restore(folder, parts, name)

    def _purge_later(self, workspace: str) -> None:
        with self._lock:
            if workspace in self._purging:
                return
            self._purging.add(workspace)
        timer = threading.Timer(2 * trash.KEEP_S, self._purge, (workspace,))
        timer.daemon = True
        timer.start()

    def _purge(self, workspace: str) -> None:
        with self._lock:
            self._purging.discard(workspace)
        with contextlib.suppress(NotFound):
            offload(self._purge_now, workspace)

    def _purge_now(self, workspace: str) -> None:
        with Folder(self._workspaces, workspace) as folder:
            trash.purge(folder)


def _known(path: str) -> list[str]:
    """Cut a path, of a kind that is shown, into its parts."""
    parts = parts_of(path)
    if scan.ending(parts[-1]) not in KINDS:
        raise NotFound("no such picture", reason="output")
    return parts
