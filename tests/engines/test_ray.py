"""How a real Ray fails, and what is then said of its jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.errors import EngineSilent, LaunchFailed
from manager.launcher.engine import JobState
from manager.launcher.ray import words
from manager.launcher.ray.engine import RayEngine
from tests.engines.jobs import HOLD, LIMIT_S, job_of, report, state, told, wait_for
from tests.support.ray_cluster import RayCluster, ray_cluster
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

GIVES_UP_S = 20
"""Ray's own patience with a job that waits, instead of 15 minutes."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with ray_cluster(tmp_path_factory.mktemp("ray"), GIVES_UP_S) as cluster:
        yield cluster


@pytest.fixture
def cluster(begun: RayCluster) -> RayCluster:
    begun.mend()
    return begun


def test_a_wrong_token_and_none_are_told_apart_and_it_is_said_what_to_do(
    cluster: RayCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("w" * 64)
    for file, reason in ((wrong, "does not accept the token"), (None, "was shown none")):
        engine = cluster.engine(token_file=file)
        with pytest.raises(LaunchFailed, match=reason):
            engine.submit(job_of("0" * 16, tmp_path / "job"))
        assert engine.look() is None
        assert engine.probe() is None
        assert "RAY_TOKEN_FILE" in engine.problem
        engine.cancel("0" * 16, force=True)
        assert engine.logs("0" * 16, 100) == ""
    assert state(cluster.engine(), "0" * 16) is JobState.ABSENT
    facts = cluster.engine().probe()
    assert facts is not None
    assert facts.guarded
    for secret in ("w" * 64, cluster.token_file.read_text()):
        assert secret not in caplog.text
        assert secret not in repr(vars(engine)) + repr(engine)


def test_a_queue_that_ray_gives_up_on_goes_on(
    cluster: RayCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    engine = cluster.engine()
    holders = [
        job_of(f"{n:016}", tmp_path / f"{n}", cards=2, node=node)
        for n, node in enumerate(cluster.nodes)
    ]
    for job in holders:
        engine.submit(job)
        wait_for(engine, job, JobState.RUNNING)
    waiting = job_of(
        "f" * 16, tmp_path / "waiting", 'echo "$ASCEND_RT_VISIBLE_DEVICES" > {folder}/card; ' + HOLD
    )
    cancelled = job_of("e" * 16, tmp_path / "cancelled", "echo > {folder}/ran; " + HOLD)
    for job in (waiting, cancelled):
        engine.submit(job)
    engine.cancel(cancelled.name, force=False)
    seen: list[JobState] = []

    def again() -> bool:
        seen.append(state(engine, waiting.name))
        return f"gave up on {waiting.name}" in caplog.text

    wait_until(again, LIMIT_S, "Ray gave up")
    assert set(seen) == {JobState.QUEUED}
    # Nobody waits for it any more, so it is let go.
    assert "RAY_JOB_START_TIMEOUT_SECONDS" in wait_for(engine, cancelled, JobState.ENDED).why
    (Path(holders[0].folder) / "end").touch()
    wait_for(engine, waiting, JobState.RUNNING)
    assert told(waiting, "card").strip() in {"0", "1"}
    assert not (Path(cancelled.folder) / "ran").exists()
    _end(engine, holders[1], waiting)


def test_what_cannot_be_placed_anywhere_is_refused_or_waits(
    cluster: RayCluster, tmp_path: Path
) -> None:
    engine = cluster.engine()
    with pytest.raises(LaunchFailed, match="too long"):
        engine.submit(job_of("1" * 16, tmp_path / "long", env={"X": "x" * words.MOST_WORDS}))
    nowhere = job_of("2" * 16, tmp_path / "nowhere", node="127.0.0.9")
    engine.submit(nowhere)
    assert wait_for(engine, nowhere, JobState.QUEUED).why
    engine.cancel(nowhere.name, force=True)
    wait_for(engine, nowhere, JobState.ENDED)


def test_a_machine_that_dies_is_said_to_be_dead_and_its_jobs_to_have_ended(
    cluster: RayCluster, tmp_path: Path
) -> None:
    engine = cluster.engine()
    there, here = (
        job_of(f"{n}" * 16, tmp_path / f"{n}", node=node)
        for n, node in ((3, cluster.nodes[1]), (4, cluster.nodes[0]))
    )
    for job in (there, here):
        engine.submit(job)
        wait_for(engine, job, JobState.RUNNING)
    cluster.worker.kill("raylet")
    assert "died" in wait_for(engine, there, JobState.ENDED).why
    assert report(engine, here.name).state is JobState.RUNNING

    def alive() -> list[bool | None]:
        facts = engine.probe()
        return [node.alive for node in facts.nodes] if facts else []

    wait_until(lambda: alive() == [True, False], LIMIT_S, "the machine is said to be dead")
    # It comes back under its old address: then it is no longer told of as dead.
    cluster.mend()
    assert alive() == [True, True]
    _end(engine, here)


def test_nothing_is_known_while_the_head_s_memory_is_dead(
    cluster: RayCluster, tmp_path: Path
) -> None:
    engine = cluster.engine()
    job = job_of("5" * 16, tmp_path / "job")
    engine.submit(job)
    wait_for(engine, job, JobState.RUNNING)
    cluster.head.kill("gcs_server")
    assert state(engine, job.name) is JobState.UNKNOWN
    assert engine.problem
    with pytest.raises(EngineSilent):
        engine.submit(job_of("6" * 16, tmp_path / "late"))
    engine.cancel(job.name, force=True)
    engine.forget(job.name)
    assert engine.logs(job.name, 100) == ""
    assert engine.probe() is None


def test_a_head_that_was_begun_anew_has_forgotten_what_it_had(
    cluster: RayCluster, tmp_path: Path
) -> None:
    engine = cluster.engine()
    job = job_of("7" * 16, tmp_path / "job")
    engine.submit(job)
    wait_for(engine, job, JobState.RUNNING)
    cluster.head.end()
    assert state(engine, job.name) is JobState.UNKNOWN
    with pytest.raises(EngineSilent, match="nobody listens"):
        engine.submit(job)
    cluster.mend()
    # Absent, which proves nothing: whether it runs is for others to find out.
    assert state(engine, job.name) is JobState.ABSENT
    assert engine.problem == ""
    engine.submit(job)
    wait_for(engine, job, JobState.RUNNING)
    _end(engine, job)


def _end(engine: RayEngine, *jobs: object) -> None:
    for job in jobs:
        (Path(job.folder) / "end").touch()  # type: ignore[attr-defined]
        wait_for(engine, job, JobState.ENDED)  # type: ignore[arg-type]
