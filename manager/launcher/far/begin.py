"""How a launch of an engine is made: what lies on the shared storage, and what is submitted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from manager.launcher.command import CARD_VARIABLES
from manager.launcher.confine import SECRET_FILE, TLS_FILE
from manager.launcher.engine import Job
from manager.launcher.far.files import ENGINE
from manager.launcher.groups import Groups
from manager.launcher.isolation import Isolation
from manager.launcher.protocol import LaunchSpec

NODE_PROGRAM = Path(__file__).with_name("node.py").resolve()
"""Must be found at this same path on every node."""

DEVICE_NODES = {"ascend": "/dev/davinci{}", "cuda": "/dev/nvidia{}"}
"""The nodes of single cards, as in ``cards/handles.py``."""

BARE = {"drop": True, "secret": True, "tls": True, "limits": {"CORE": 0}}
"""The plan at level ``directories``: no capability stays, and none comes back."""


@dataclass(frozen=True)
class Placement:
    """Where a launch is to run.

    ``node`` is the engine's name of a machine, None for any. ``hosts`` are addresses by which it
    is reached, the best first, and ``any_port`` lets it choose another port than its row's where
    that is taken.
    """

    node: str | None
    cards: int
    kind: str
    hosts: tuple[str, ...] = ()
    any_port: bool = False


@dataclass(frozen=True)
class Begin:
    """What is the same for every launch of an engine.

    Args:
        python: the Python on the nodes (3.9 or newer), at the same path on each.
        reach: the manager's address as nodes see it, by which they find their own; may be empty.
        grace_s: time between the engine's SIGTERM and its SIGKILL, less a bit.
        isolation: what launches are to be confined with; None: ``directories``.
    """

    python: str
    reach: str
    grace_s: float
    isolation: Isolation | None = None

    def words(self, run_dir: Path) -> tuple[str, ...]:
        """Give the command line that the engine runs."""
        return (self.python, "-I", "-S", str(NODE_PROGRAM), str(run_dir))

    def settling(self, runs_dir: Path, name: str, node: str) -> Job:
        """Make the job that ends what is left on a node, without a card."""
        words = (self.python, "-I", "-S", str(NODE_PROGRAM), "--settle", str(runs_dir))
        return Job(name, words, {}, str(runs_dir), node=node, cards=0, kind="cpu")

    def prepare(self, spec: LaunchSpec) -> tuple[int | None, Mapping[str, object]]:
        """Give the account and the plan of a launch, and hand its folders over to that account.

        What it may see is worked out on this machine: a node that lacks one of these paths, the
        account or Landlock starts nothing. Control groups are for this machine alone.

        Raises:
            OSError: a folder could not be handed over.
        """
        if self.isolation is None:
            return None, {**BARE, "secret": spec.secret is not None}
        prepared = replace(self.isolation, groups=Groups()).prepare(spec)
        plan = {**(prepared.plan or {}), "tls": True}
        plan["secret"] = spec.secret is not None
        return prepared.uid, plan

    def job(self, spec: LaunchSpec, place: Placement, run_dir: Path) -> dict[str, object]:
        """Give what the program on the node reads, with what is submitted."""
        submit = Job(
            spec.launch_id,
            self.words(run_dir),
            {},
            str(run_dir),
            node=place.node,
            cards=place.cards,
            kind=place.kind,
            # Whoever may ask the engine reads them: whose it is stands in ``meta``.
            labels={"manager": "comfyui-manager", "launch": spec.launch_id},
        )
        accounts = self.isolation.accounts if self.isolation else range(0)
        return {
            "submit": asdict(submit),
            "words": list(spec.words(Path(SECRET_FILE))),
            "env": dict(spec.env),
            "cwd": str(spec.cwd),
            "log_max": spec.log_max_bytes,
            "port": spec.port,
            "any_port": place.any_port,
            "hosts": list(place.hosts),
            "reach": self.reach,
            "card_variable": CARD_VARIABLES.get(place.kind, "") if place.cards else "",
            "device_node": DEVICE_NODES.get(place.kind, ""),
            "accounts": [accounts.start, accounts.stop],
            "grace_s": self.grace_s,
            "tls": TLS_FILE,
        }


def meta_of(spec: LaunchSpec, place: Placement, uid: int | None) -> dict[str, object]:
    """Give what is noted of a launch before it begins: whose it is, and that it is an engine's."""
    return {
        "launch_id": spec.launch_id,
        ENGINE: place.node or "any",
        "argv": list(spec.argv),
        "cwd": str(spec.cwd),
        "at": time.time(),
        "labels": dict(spec.labels),
        "port": spec.port,
        "uid": uid,
        "groups": [],
    }
