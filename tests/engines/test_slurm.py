"""How a real Slurm fails, and what is then said of its jobs."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.errors import EngineSilent, LaunchFailed
from manager.launcher.engine import Job, JobState
from manager.launcher.slurm.engine import RECEIPT, SlurmEngine
from tests.engines.jobs import HOLD, LIMIT_S, ended, job_of, report, state, told, wait_for
from tests.support.slurm_cluster import SlurmCluster, slurm_cluster
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def engine(cluster: SlurmCluster) -> Iterator[SlurmEngine]:
    """Give one whose jobs all end with the test."""
    engine = cluster.engine(secrets.token_hex(4))
    yield engine
    for name in engine.look() or {}:
        engine.cancel(name, force=True)
        wait_until(lambda name=name: ended(engine, name), LIMIT_S, f"{name} has ended")  # type: ignore[misc]


def running(engine: SlurmEngine, job: Job) -> None:
    engine.submit(job)
    wait_for(engine, job, JobState.RUNNING)


def test_nothing_is_known_while_the_controller_is_dead_and_nothing_is_lost(
    cluster: SlurmCluster, engine: SlurmEngine, tmp_path: Path
) -> None:
    job = job_of("a" * 16, tmp_path / "a", "echo begun >> {folder}/begun; " + HOLD)
    running(engine, job)
    told(job, "begun")
    # One that dies before it has saved that a job has begun would begin it once more.
    cluster.wait_until_saved()
    cluster.controller.kill("slurmctld")
    late = job_of("b" * 16, tmp_path / "b")
    assert state(engine, job.name) is JobState.UNKNOWN
    assert engine.problem
    for one in (job_of("c" * 16, tmp_path / "c"), late):
        with pytest.raises(EngineSilent):
            engine.submit(one)
    assert engine.probe() is None
    assert engine.logs(job.name, 100) == ""
    engine.cancel(job.name, force=True)
    engine.forget(job.name)
    cluster.begin_controller()
    cluster.wait_until_whole()
    assert wait_for(engine, job, JobState.RUNNING).host == "127.0.0.2"
    assert engine.problem == ""
    running(engine, late)
    assert told(job, "begun") == "begun\n"


def test_a_machine_s_daemon_begun_anew_finds_its_jobs_running(
    cluster: SlurmCluster, engine: SlurmEngine, tmp_path: Path
) -> None:
    job = job_of("a" * 16, tmp_path / "a", node="n1")
    running(engine, job)
    machine = cluster.machines["n1"]
    machine.kill("slurmd")
    cluster.begin_machine("n1")
    cluster.wait_until_whole()
    assert state(engine, job.name) is JobState.RUNNING
    (tmp_path / "a" / "end").touch()
    wait_for(engine, job, JobState.ENDED)


def test_a_machine_that_dies_is_said_to_be_dead_and_its_jobs_to_have_ended(
    cluster: SlurmCluster, engine: SlurmEngine, tmp_path: Path
) -> None:
    job, other = (job_of(c * 16, tmp_path / c, node=node) for c, node in (("a", "n2"), ("b", "n1")))
    for one in (job, other):
        running(engine, one)
    cluster.machines["n2"].end()
    found = wait_for(engine, job, JobState.ENDED)
    assert "NODE_FAIL" in found.why
    assert found.node == "n2"
    assert state(engine, other.name) is JobState.RUNNING
    facts = engine.probe()
    assert facts is not None
    assert [node.alive for node in facts.nodes] == [True, False]
    assert "DOWN" in facts.nodes[1].why
    cluster.begin_machine("n2")
    cluster.wait_until_whole()


def test_what_slurm_refuses_is_said_with_its_own_words(
    cluster: SlurmCluster, engine: SlurmEngine, tmp_path: Path
) -> None:
    with pytest.raises(LaunchFailed, match="node"):
        engine.submit(job_of("a" * 16, tmp_path / "a", node="nowhere"))
    elsewhere = SlurmEngine("x", more=["--partition=nowhere"], environ=cluster.environ)
    with pytest.raises(LaunchFailed, match="partition"):
        elsewhere.submit(job_of("b" * 16, tmp_path / "b"))
    assert not (tmp_path / "a" / RECEIPT).exists()
    with pytest.raises(LaunchFailed, match="cannot be used"):
        engine.submit(Job("c" * 16, ("true",), {}, str(tmp_path / "none" / "such")))
    assert engine.look() == {}


def test_a_job_that_was_handed_in_by_a_manager_that_died_over_it_is_not_handed_in_again(
    engine: SlurmEngine, tmp_path: Path
) -> None:
    job = job_of("a" * 16, tmp_path / "a", "echo begun >> {folder}/begun; " + HOLD)
    running(engine, job)
    first = (tmp_path / "a" / RECEIPT).read_text()
    (tmp_path / "a" / RECEIPT).unlink()
    engine.submit(job)
    assert (tmp_path / "a" / RECEIPT).read_text() == first
    # With the receipt also when Slurm has long forgotten it.
    other = SlurmEngine("another", environ={**os.environ, "SLURM_CONF": "/nonexistent"})
    other.submit(job)
    assert told(job, "begun") == "begun\n"


def test_two_do_not_hand_a_job_in_at_once(engine: SlurmEngine, tmp_path: Path) -> None:
    job = job_of("a" * 16, tmp_path / "a")
    with (tmp_path / "a" / "slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EngineSilent, match="somebody else"):
            engine.submit(job)
    assert engine.look() == {}


def test_what_is_set_for_slurm_s_commands_by_hand_changes_nothing(
    cluster: SlurmCluster, tmp_path: Path
) -> None:
    hand = {"SBATCH_PARTITION": "nowhere", "SQUEUE_STATES": "PENDING", "SECRET_OF_MINE": "x"}
    engine = SlurmEngine("hand", kind="ascend", environ={**cluster.environ, **hand})
    folder = tmp_path / "with 100% J and a space"
    job = job_of("a" * 16, folder, "env; echo > '{folder}/done'")
    engine.submit(job)
    assert "SECRET_OF_MINE" not in wait_until(lambda: engine.logs(job.name, 9999), LIMIT_S, "env")
    wait_for(engine, job, JobState.ENDED)
    assert (folder / "slurm.log").exists()


def test_a_waiting_job_that_is_cancelled_never_runs(
    cluster: SlurmCluster, engine: SlurmEngine, tmp_path: Path
) -> None:
    holders = [job_of(n * 16, tmp_path / n, cards=2, node=n) for n in cluster.nodes]
    for job in holders:
        running(engine, job)
    waiting = job_of("f" * 16, tmp_path / "f", "echo > {folder}/ran")
    engine.submit(waiting)
    wait_until(lambda: "Resources" in report(engine, waiting.name).why, LIMIT_S, "a reason")
    engine.cancel(waiting.name, force=False)
    wait_for(engine, waiting, JobState.ENDED)
    assert not (tmp_path / "f" / "ran").exists()
