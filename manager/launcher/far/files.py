"""One launch's directory as the manager has it, on the storage that all machines share.

Besides what ``RunDir`` knows: ``tls`` (key and certificate of this launch) and ``job`` (what its
program on the node needs, and what is submitted, so that it can be submitted again), both written
before anything is submitted; ``placed``, the node that the engine named; and what that program
writes, see ``node.py``. Reading never raises for what is missing. Blocks: call through
``runtime.offload``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any

from manager.launcher.activity import Activity
from manager.launcher.engine import Job
from manager.launcher.far import claims
from manager.launcher.far.authority import name_of, put
from manager.launcher.run_dir import RunDir
from manager.records import Address

ENGINE = "engine"
"""In ``meta``: this launch is an engine's. One without it was begun on the manager's machine."""


class FarRun(RunDir):
    """The files of one launch."""

    def fill(
        self,
        meta: Mapping[str, object],
        secret: str | None,
        plan: Mapping[str, object],
        tls: bytes,
        job: Mapping[str, object],
    ) -> None:
        """Write all that a launch needs before it is submitted; ``job`` last: it makes it whole.

        Raises:
            OSError: it cannot be written; what is there is no launch yet.
        """
        if not self.create(meta, secret, plan):
            # Another manager was killed over this; nothing was submitted.
            self.renew(meta, secret, plan)
        put(self.path / "tls", tls)
        put(self.path / "job", json.dumps(job).encode())

    def whole(self) -> bool:
        """Tell whether all was written that had to be before it was submitted."""
        return (self.path / "job").exists()

    def begun_elsewhere(self) -> bool:
        """Tell whether this is a launch of the manager's own machine."""
        meta = self.meta()
        return bool(meta) and ENGINE not in meta

    def job(self) -> Job | None:
        """Give what is submitted; None where it cannot be read."""
        told = claims.read_file(self.path / "job").get("submit")
        try:
            return Job(**{**told, "words": tuple(told["words"])}) if told else None
        except (TypeError, KeyError):
            return None

    def claimed(self) -> bool:
        """Tell whether anybody has this launch.

        Raises:
            OSError: nobody can tell.
        """
        return claims.taken(self.path)

    def claim(self) -> dict[str, Any]:
        """Say who has it; empty where it cannot be read."""
        return claims.read(self.path)

    def call_off(self, why: str) -> bool:
        """See to it that it never begins; False where a node has it already.

        Raises:
            OSError: nobody can tell.
        """
        if claims.take(self.path, claims.MANAGER, {"why": why}):
            return True
        return self.claim().get("by") == claims.MANAGER

    def called_off(self) -> bool:
        """Tell whether it can never begin."""
        return self.claim().get("by") == claims.MANAGER

    def beat(self) -> dict[str, Any]:
        """Give what its program said last."""
        return claims.read_file(self.path / "beat")

    def address(self) -> Address | None:
        """Say where it listens, and by which name it is known; None while it has not said so."""
        said = claims.read_file(self.path / "address")
        host, port = said.get("host"), said.get("port")
        if not (isinstance(host, str) and type(port) is int):
            return None
        # As every address that comes from elsewhere: only what is one.
        found = Address.parse(str(Address(host, port, "https", name_of(self.path.name))))
        return found if found and found.host == host else None

    def order(self, word: str) -> None:
        """Leave an order for its program: ``stop`` or ``kill``, which is never taken back.

        Raises:
            OSError: it cannot be written.
        """
        path = self.path / "order"
        try:
            before = path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            before = ""
        if before not in (word, "kill"):
            put(path, word.encode() + b"\n")

    def ended(self) -> dict[str, Any]:
        """Give what its program said at the end."""
        return claims.read_file(self.path / "ended")

    def place(self, node: str) -> None:
        """Note the engine's name of its node.

        Raises:
            OSError: it cannot be written.
        """
        put(self.path / "placed", node.encode())

    def placed(self) -> str | None:
        """Give the engine's name of its node; None where it was never told."""
        try:
            return (self.path / "placed").read_text(encoding="utf-8") or None
        except (OSError, ValueError):
            return None

    def remove(self) -> None:
        """Remove all of it; what cannot go stays."""
        shutil.rmtree(self.path, ignore_errors=True)


def activity_of(beat: Mapping[str, Any]) -> tuple[int, Activity] | None:
    """Read what a tree has done so far out of a beat, with the beat's number; None: not told."""
    told = beat.get("activity") or {}
    try:
        pids = frozenset(map(int, told["pids"]))
        seen = Activity(
            float(told["cpu_seconds"]), int(told["moved_bytes"]), bool(told["waiting"]), pids
        )
        return int(told["count"]), seen
    except (KeyError, TypeError, ValueError):
        return None
