"""Fixtures: ``cluster``, each engine in turn; a real one is begun once for all of its tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from manager.launcher.engine import Engine
from tests.support.process_engine import ProcessCluster
from tests.support.ray_cluster import ray_cluster
from tests.support.slurm_cluster import slurm_cluster


class Cluster(Protocol):
    """Two machines with ``cards`` pretended cards each."""

    kind: str
    nodes: tuple[str, ...]
    cards: int

    def engine(self, mark: str = "ours") -> Engine: ...


@contextmanager
def process_cluster(folder: Path) -> Iterator[ProcessCluster]:
    cluster = ProcessCluster(folder)
    try:
        yield cluster
    finally:
        cluster.end()


KINDS: dict[str, Any] = {"process": process_cluster, "ray": ray_cluster, "slurm": slurm_cluster}


@pytest.fixture(
    scope="module",
    params=[
        "process",
        pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.timeout(900)]),
        pytest.param("slurm", marks=[pytest.mark.slurm, pytest.mark.timeout(900)]),
    ],
)
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    with ExitStack() as stack:
        kind = KINDS[request.param]
        yield stack.enter_context(kind(tmp_path_factory.mktemp(request.param)))
