"""What the tests of engines share: looking at a job, and waiting until it is as it should be."""

from __future__ import annotations

from pathlib import Path

from manager.launcher.engine import Engine, Job, JobReport, JobState
from tests.support.waiting import wait_until

LIMIT_S = 90.0
"""For a job to begin or end: this machine may have much else to do."""

HOLD = "while [ ! -e {folder}/end ]; do sleep 0.1; done"


def job_of(name: str, folder: Path, script: str = HOLD, **more: object) -> Job:
    """Make a job that runs a script, in which ``{folder}`` is its own folder."""
    folder.mkdir(exist_ok=True)
    env = more.pop("env", {})
    text = script.format(folder=folder)
    return Job(name, ("/bin/sh", "-c", text), env, str(folder), **more)  # type: ignore[arg-type]


def report(engine: Engine, name: str) -> JobReport:
    found = engine.look()
    if found is None:
        return JobReport(JobState.UNKNOWN)
    return found.get(name, JobReport(JobState.ABSENT))


def state(engine: Engine, name: str) -> JobState:
    return report(engine, name).state


def ended(engine: Engine, name: str) -> bool:
    return state(engine, name) in {JobState.ENDED, JobState.ABSENT}


def wait_for(engine: Engine, job: Job, wanted: JobState) -> JobReport:
    wait_until(lambda: state(engine, job.name) is wanted, LIMIT_S, f"{job.name} is {wanted}")
    return report(engine, job.name)


def told(job: Job, name: str) -> str:
    """Wait for what a job writes into its folder."""
    path = Path(job.folder) / name
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"), LIMIT_S, name)
    return path.read_text()
