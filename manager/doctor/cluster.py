"""The machines of a cluster: whether the engine answers and asks who asks, and what all must share.

Only this machine is looked at, and what the engine tells: whether every machine sees the same
folders shows at the first start on it, which ends with the path that it lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from manager.doctor.finding import OK, PROBLEM, WARNING, Finding
from manager.errors import SettingsError
from manager.launcher.engine import EngineFacts
from manager.launcher.engines import engine_of
from manager.ports import LOCAL
from manager.settings import ROOT, Settings

SHARED = frozenset(
    {
        *(
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "ceph",
            "lustre",
            "gpfs",
            "beegfs",
            "afs",
            "9p",
            "virtiofs",
        ),
        *("ocfs2", "gfs2", "orangefs", "pvfs2", "panfs", "wekafs"),
    }
)
"""File systems that several machines may have mounted, by their names in /proc/mounts; those of
FUSE (GlusterFS, JuiceFS, MooseFS, SeaweedFS) are taken for such, too."""

MOUNTS = Path("/proc/self/mounts")


def cluster(settings: Settings) -> Iterator[Finding]:
    """Look at the engine, and at the machines that the port table names."""
    if settings.launcher == LOCAL:
        return
    told: dict[str, object] = {"kind": settings.launcher}
    try:
        engine = engine_of(settings, "doctor")
    except SettingsError as error:
        yield Finding("cluster", PROBLEM, "unusable", {**told, "reason": error.message})
        return
    facts = engine.probe() if engine is not None else None
    if facts is None:
        why = str(getattr(engine, "problem", "") or "-")
        yield Finding("cluster", PROBLEM, "silent", {**told, "reason": why})
        return
    told |= {"kind": facts.kind, "version": facts.version, "count": len(facts.nodes)}
    yield Finding("cluster", OK, "ok", told)
    if not facts.guarded:
        yield Finding("cluster", WARNING, "open", told)
    yield from _machines(settings, facts)


def _machines(settings: Settings, facts: EngineFacts) -> Iterator[Finding]:
    known = {node.name: node for node in facts.nodes}
    for name in sorted({row.wanted_node for row in settings.ports if row.wanted_node}):
        node = known.get(name)
        told: dict[str, object] = {"node": name, "known": ", ".join(sorted(known)[:20]) or "-"}
        if node is None:
            yield Finding("cluster", PROBLEM, "no_node", told)
            continue
        if not node.alive:
            yield Finding("cluster", WARNING, "node_silent", told)
        rows = sum(row.wanted_node == name for row in settings.ports)
        cards = node.cards.get(settings.card_kind, 0)
        if settings.card_kind != "cpu" and rows > cards:
            told |= {"rows": rows, "cards": cards, "card_kind": settings.card_kind}
            yield Finding("cluster", WARNING, "few_cards", told)


def shared(settings: Settings) -> Iterator[Finding]:
    """Look whether what all machines must have at the same path is on storage they can share."""
    if settings.launcher == LOCAL:
        return
    places = {"DATA_DIR": settings.data_dir, "COMFYUI_PATH": settings.comfyui_path}
    if settings.demo:
        places.pop("COMFYUI_PATH")
    bad = False
    for name, path in {**places, "PROGRAM": ROOT}.items():
        kind = kind_of(path)
        if kind not in SHARED and not kind.startswith("fuse"):
            bad = True
            told: dict[str, object] = {"name": name, "path": str(path), "type": kind or "?"}
            yield Finding("shared", WARNING, "local", told)
    if not bad:
        yield Finding("shared", OK, "ok", {"path": str(settings.data_dir)})


def kind_of(path: Path, mounts: Path = MOUNTS) -> str:
    """Name the file system a path is on (proc_pid_mounts(5)); empty where nobody can tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    there = path.resolve()
    found = [
        (len(point.parts), number, words[2])
        for number, words in enumerate(map(str.split, lines))
        if len(words) > 2 and there.is_relative_to(point := Path(_plain(words[1])))
    ]
    # The deepest, and of those mounted over each other the last.
    return max(found)[2] if found else ""


def _plain(written: str) -> str:
    return written.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
