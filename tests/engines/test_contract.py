"""Every engine does what ``manager.launcher.engine`` says; on a real cluster where there is one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from manager.launcher.engine import Engine, Job, JobState
from tests.engines.conftest import Cluster
from tests.engines.jobs import HOLD, LIMIT_S, ended, job_of, state, told, wait_for
from tests.support.waiting import wait_until

Make = Callable[..., Job]


@pytest.fixture
def engine(cluster: Cluster) -> Engine:
    return cluster.engine()


@pytest.fixture
def make(cluster: Cluster, tmp_path: Path, engine: Engine) -> Iterator[Make]:
    """Make jobs that run until the test is over, and see to it that they end."""
    names: list[str] = []

    def make(script: str = HOLD, **more: object) -> Job:
        names.append(secrets.token_hex(8))
        return job_of(names[-1], tmp_path / names[-1], script, **more)

    yield make
    for name in names:
        (tmp_path / name / "end").touch()
        engine.cancel(name, force=True)
    for name in names:
        wait_until(partial(ended, engine, name), LIMIT_S, f"{name} has ended")
        engine.forget(name)


def test_a_job_runs_on_a_machine_that_is_named_with_its_card_and_environment(
    cluster: Cluster, engine: Engine, make: Make
) -> None:
    nasty = "a $HOME ${{HOME}} 'b' \"c\" `d` \\ 中文 e,f;g"
    value = nasty.replace("{{", "{").replace("}}", "}")
    script = 'printf "%s|%s\\n" "$NASTY" "$ASCEND_RT_VISIBLE_DEVICES" > {folder}/env; ' + HOLD
    job = make(script, env={"NASTY": value})
    engine.submit(job)
    found = wait_for(engine, job, JobState.RUNNING)
    assert found.node in cluster.nodes
    assert found.host
    said, _, card = told(job, "env").strip().partition("|")
    assert said == value
    assert card.isdigit()


def test_the_same_name_a_second_time_starts_nothing(engine: Engine, make: Make) -> None:
    script = "echo once >> {folder}/begun; " + HOLD
    job = make(script)
    engine.submit(job)
    engine.submit(job)
    wait_for(engine, job, JobState.RUNNING)
    engine.submit(job)
    told(job, "begun")
    # A job that comes after it and is through says that the second would have begun by now.
    after = make("true")
    engine.submit(after)
    wait_for(engine, after, JobState.ENDED)
    assert told(job, "begun") == "once\n"


def test_no_card_is_given_twice_and_who_finds_none_waits(
    cluster: Cluster, engine: Engine, make: Make
) -> None:
    script = 'echo "$ASCEND_RT_VISIBLE_DEVICES" > {folder}/card; ' + HOLD
    holders = [make(script) for _ in range(len(cluster.nodes) * cluster.cards)]
    for job in holders:
        engine.submit(job)
    places = [(wait_for(engine, job, JobState.RUNNING).node, told(job, "card")) for job in holders]
    assert len(set(places)) == len(holders)
    late = make(script)
    engine.submit(late)
    assert wait_for(engine, late, JobState.QUEUED).why
    assert not (Path(late.folder) / "card").exists()
    (Path(holders[0].folder) / "end").touch()
    wait_for(engine, holders[0], JobState.ENDED)
    assert wait_for(engine, late, JobState.RUNNING).node == places[0][0]


def test_a_job_runs_on_the_machine_it_must_run_on(
    cluster: Cluster, engine: Engine, make: Make
) -> None:
    for node in cluster.nodes:
        jobs = [make(node=node) for _ in range(cluster.cards)]
        for job in jobs:
            engine.submit(job)
        assert {wait_for(engine, job, JobState.RUNNING).node for job in jobs} == {node}


def test_a_job_may_have_all_cards_of_a_machine(
    cluster: Cluster, engine: Engine, make: Make
) -> None:
    job = make('echo "$ASCEND_RT_VISIBLE_DEVICES" > {folder}/card; ' + HOLD, cards=cluster.cards)
    engine.submit(job)
    wait_for(engine, job, JobState.RUNNING)
    assert len(set(told(job, "card").strip().split(","))) == cluster.cards


def test_a_job_without_cards_runs_beside_those_that_have_all(
    cluster: Cluster, engine: Engine, make: Make
) -> None:
    whole = [make(cards=cluster.cards, node=node) for node in cluster.nodes]
    for job in whole:
        engine.submit(job)
        wait_for(engine, job, JobState.RUNNING)
    job = make(kind="cpu")
    engine.submit(job)
    assert wait_for(engine, job, JobState.RUNNING).node in cluster.nodes


@pytest.mark.parametrize("force", [False, True])
def test_a_cancelled_job_ends(engine: Engine, make: Make, force: bool) -> None:
    job = make()
    engine.submit(job)
    wait_for(engine, job, JobState.RUNNING)
    engine.cancel(job.name, force=force)
    assert wait_for(engine, job, JobState.ENDED).why


def test_a_polite_end_lets_a_job_put_its_things_in_order(engine: Engine, make: Make) -> None:
    script = (
        "trap 'sleep 5; echo in order > {folder}/last; exit' TERM; echo > {folder}/ready; "
        "while :; do sleep 0.1; done"
    )
    job = make(script)
    engine.submit(job)
    told(job, "ready")
    engine.cancel(job.name, force=False)
    wait_for(engine, job, JobState.ENDED)
    assert told(job, "last") == "in order\n"


def test_what_is_unknown_is_left_alone(engine: Engine) -> None:
    engine.cancel("0123456789abcdef", force=True)
    engine.forget("0123456789abcdef")
    assert engine.logs("0123456789abcdef", 1000) == ""
    assert state(engine, "0123456789abcdef") is JobState.ABSENT


@pytest.mark.parametrize("code", [0, 3])
def test_a_job_that_ends_by_itself_is_seen_to(engine: Engine, make: Make, code: int) -> None:
    job = make(f"exit {code}")
    engine.submit(job)
    assert wait_for(engine, job, JobState.ENDED).why


def test_of_what_a_job_printed_the_end_is_given(engine: Engine, make: Make) -> None:
    job = make('for i in $(seq 20000); do echo "line $i 中"; done; echo the end')
    engine.submit(job)
    wait_for(engine, job, JobState.ENDED)
    end = wait_until(lambda: engine.logs(job.name, 1000), LIMIT_S, "its output")
    assert end.endswith("line 20000 中\nthe end\n")
    assert 900 < len(end.encode()) <= 1000


def test_an_ended_job_can_be_forgotten_and_a_running_one_cannot(engine: Engine, make: Make) -> None:
    job = make()
    engine.submit(job)
    wait_for(engine, job, JobState.RUNNING)
    engine.forget(job.name)
    assert state(engine, job.name) is JobState.RUNNING
    (Path(job.folder) / "end").touch()
    wait_for(engine, job, JobState.ENDED)
    engine.forget(job.name)
    wait_for(engine, job, JobState.ABSENT)


def test_another_manager_s_jobs_are_not_this_one_s(
    cluster: Cluster, engine: Engine, make: Make
) -> None:
    job = make()
    engine.submit(job)
    wait_for(engine, job, JobState.RUNNING)
    assert state(cluster.engine("theirs"), job.name) is JobState.ABSENT


def test_an_engine_made_anew_knows_what_runs(cluster: Cluster, engine: Engine, make: Make) -> None:
    job = make()
    engine.submit(job)
    wait_for(engine, job, JobState.RUNNING)
    later = cluster.engine()
    assert state(later, job.name) is JobState.RUNNING
    later.submit(job)
    later.cancel(job.name, force=True)
    wait_for(engine, job, JobState.ENDED)


def test_the_machines_their_cards_and_what_is_in_use_are_told(
    cluster: Cluster, engine: Engine, make: Make
) -> None:
    job = make(node=cluster.nodes[1])
    engine.submit(job)
    wait_for(engine, job, JobState.RUNNING)

    def held() -> list[int]:
        facts = engine.probe()
        assert facts is not None
        assert facts.version
        assert facts.kind == cluster.kind
        assert tuple(node.name for node in facts.nodes) == cluster.nodes
        assert all(node.alive and node.host for node in facts.nodes)
        assert {n.cards["ascend"] for n in facts.nodes} == {cluster.cards}
        return [(node.held or {}).get("ascend", -1) for node in facts.nodes]

    wait_until(lambda: held() == [0, 1], LIMIT_S, "the card is counted")
