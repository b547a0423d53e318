"""What is made of what Slurm's commands print, and of commands that hang, fail or are not there."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from manager.errors import EngineSilent, LaunchFailed
from manager.launcher.engine import EngineNode, Job, JobState
from manager.launcher.slurm import engine as slurm_engine
from manager.launcher.slurm import tools, words
from manager.launcher.slurm.engine import RECEIPT, SlurmEngine

JOB = Job("0123456789abcdef", ("python3", "a b.py"), {"X": "$HOME 中"}, "/tmp/100%")


def line(state: str, **more: str) -> str:
    about = {"number": "7", "node": "n1", "reason": "None", "mark": "ours", "name": "a", **more}
    return "|".join(
        [about["number"], state, *(about[n] for n in ("node", "reason", "mark", "name"))]
    )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("PENDING", JobState.QUEUED),
        ("CONFIGURING", JobState.QUEUED),
        ("REQUEUED", JobState.QUEUED),
        ("RUNNING", JobState.RUNNING),
        ("COMPLETING", JobState.RUNNING),
        ("CANCELLED+COMPLETING", JobState.RUNNING),
        ("SUSPENDED", JobState.RUNNING),
        ("CANCELLED", JobState.ENDED),
        ("NODE_FAIL", JobState.ENDED),
        ("OUT_OF_MEMORY", JobState.ENDED),
        ("BRAND_NEW", JobState.UNKNOWN),
        ("", JobState.UNKNOWN),
    ],
)
def test_states(state: str, expected: JobState) -> None:
    found = words.jobs(line(state), "ours", {"n1": "10.0.0.1"})["a"].report
    assert found.state is expected
    if expected is not JobState.QUEUED:
        assert (found.node, found.host) == ("n1", "10.0.0.1")


def test_of_the_list_this_manager_s_jobs_are_read() -> None:
    printed = "\n".join(
        [
            line("RUNNING", mark="theirs", name="b"),
            line("PENDING", node="n/a", reason="Resources", mark="ours "),
            line("RUNNING", mark="(null)", name="c"),
            "nonsense",
            "",
        ]
    )
    found = words.jobs(printed, "ours", {})
    assert list(found) == ["a"]
    assert found["a"].report.node is None
    assert "Resources" in found["a"].report.why


def test_of_two_jobs_of_one_name_the_living_one_counts() -> None:
    for order in (("RUNNING", "FAILED"), ("FAILED", "RUNNING")):
        found = words.jobs("\n".join(map(line, order)), "ours", {})
        assert found["a"].state is JobState.RUNNING


def test_what_is_handed_in() -> None:
    line = words.submission(JOB, "ours", "gpu:ascend", ["--partition=npu"])
    assert "--gres=gpu:ascend:1" in line
    assert "--output=/tmp/100%%/slurm.log" in line
    assert "--partition=npu" in line
    assert not [word for word in line if "nodelist" in word]
    pinned = Job("a", ("true",), {}, "/x", node="n1", cards=1, kind="cpu")
    line = words.submission(pinned, "ours", "gpu", [])
    assert "--nodelist=n1" in line
    assert not [word for word in line if "gres" in word]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("ascend", {"SLURM_JOB_GPUS": "4,5", "CUDA_VISIBLE_DEVICES": "0,1"}, "4,5|-|-"),
        ("ascend", {"CUDA_VISIBLE_DEVICES": "3"}, "3|-|-"),
        ("cuda", {"SLURM_JOB_GPUS": "4", "CUDA_VISIBLE_DEVICES": "0"}, "-|0|-"),
        ("rocm", {"CUDA_VISIBLE_DEVICES": "2", "ROCR_VISIBLE_DEVICES": "2"}, "-|-|2"),
        ("rocm", {"CUDA_VISIBLE_DEVICES": "2"}, "-|2|-"),
        ("cpu", {}, "-|-|-"),
    ],
)
def test_the_script_gives_each_kind_its_variable(
    kind: str, given: dict[str, str], expected: str
) -> None:
    names = ("ASCEND_RT", "CUDA", "ROCR")
    shown = "|".join(f"${{{name}_VISIBLE_DEVICES:--}}" for name in names)
    job = Job("a", ("/bin/sh", "-c", f'echo "{shown}$X"'), {"X": " $HOME 'q'"}, "/x", kind=kind)
    done = subprocess.run(
        ["/bin/sh", "-eu"],
        input=words.script(job),
        env=given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{expected} $HOME 'q'\n"


NODE = (
    "NodeName={name} Arch=x86_64 CoresPerSocket=1  CPUTot=8 Gres={gres} GresDrain=N/A "
    "GresUsed={used} NodeAddr=10.0.0.{name} NodeHostName=h OS=Linux 6.1 #1 SMP @0  State={state} "
    "BootTime=2026-11-30T19:43:20 {more}"
)


def nodes(*lines: dict[str, str]) -> tuple[EngineNode, ...]:
    about = {"gres": "gpu:2", "used": "gpu:0", "state": "IDLE", "more": ""}
    return words.nodes("\n".join(NODE.format(**{**about, **one}) for one in lines), "gpu", "cuda")


def test_nodes_are_read() -> None:
    found = nodes(
        {
            "name": "1",
            "gres": "gpu:a100:4(S:0-1),gpu:2,nic:1",
            "used": "gpu:a100:1(IDX:0-1,3),gpu:1(IDX:4)",
        },
        {
            "name": "2",
            "state": "DOWN*",
            "more": "Reason=Not responding [slurm@2026-11-30T20:00:00]",
        },
        {"name": "3", "state": "IDLE*"},
        {"name": "4", "state": "MIXED+DRAIN", "more": "Reason=new fan = loud"},
        {"name": "5", "gres": "(null)", "used": "gpu:(null):0(IDX:N/A)"},
        {"name": "6", "state": "IDLE+POWERED_DOWN"},
        {"name": "7", "state": "UNKNOWN"},
    )
    assert [node.alive for node in found] == [True, False, None, True, True, False, None]
    assert found[0].cards == {"cuda": 6}
    assert found[0].held == {"cuda": 2}
    assert found[1].why == "DOWN*: Not responding [slurm@2026-11-30T20:00:00]"
    assert found[3].why == "MIXED+DRAIN: new fan = loud"
    assert found[4].cards == {"cuda": 0}
    assert found[0].host == "10.0.0.1"
    assert words.nodes("nonsense\n", "gpu", "cuda") == ()


def test_of_one_model_only_its_cards_count() -> None:
    assert words.count("gpu:a100:4,gpu:ascend:2(S:0),gpu:1", "gpu:ascend") == 2


@pytest.mark.parametrize(
    ("setting", "gres", "kind"),
    [
        ("auto", "gpu", "cuda"),
        ("auto", "gpu:ascend910b", "ascend"),
        ("auto", "gpu:910b", "ascend"),
        ("auto", "gpu:mi300", "rocm"),
        ("ascend", "gpu", "ascend"),
    ],
)
def test_the_kind_of_card_is_set_or_guessed(setting: str, gres: str, kind: str) -> None:
    assert words.kind_of(setting, gres) == kind


Fakes = Callable[..., SlurmEngine]


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    """Make an engine whose commands are scripts."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(**scripts: str) -> SlurmEngine:
        for name in ("sbatch", "squeue", "scontrol", "scancel"):
            path = folder / name
            path.write_text(f"#!/bin/sh\n{scripts.get(name, 'exit 0')}\n")
            path.chmod(0o755)
        env = {"PATH": f"{folder}:/usr/bin:/bin"}
        engine = SlurmEngine("ours", environ=env)
        engine._tools = tools.Tools(env, limit_s=0.5)
        return engine

    return make


def job(tmp_path: Path) -> Job:
    folder = tmp_path / "job"
    folder.mkdir(exist_ok=True)
    return Job(JOB.name, JOB.words, JOB.env, str(folder))


@pytest.mark.parametrize(
    "script",
    [
        "sleep 30",
        "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1",
    ],
)
def test_who_does_not_answer_says_nothing(fakes: Fakes, tmp_path: Path, script: str) -> None:
    engine = fakes(squeue=script, scontrol=script, scancel=script)
    assert engine.look() is None
    assert engine.problem
    assert engine.probe() is None
    assert engine.logs("a", 100) == ""
    engine.cancel("a", force=True)
    engine.forget("a")
    with pytest.raises(EngineSilent):
        engine.submit(job(tmp_path))
    assert not (tmp_path / "job" / RECEIPT).exists()


def test_who_did_not_answer_is_left_alone_for_a_while(
    fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    note = f"echo >> {shlex.quote(str(asked))}; "
    engine = fakes(squeue=note + "echo 'Unable to contact slurm controller' >&2; exit 1")
    for _ in range(3):
        assert engine.look() is None
    engine.cancel("a", force=True)
    assert engine.problem == "Unable to contact slurm controller"
    assert asked.read_text() == "\n"
    monkeypatch.setattr(engine, "_ask_again_at", 0.0)
    assert engine.look() is None
    assert asked.read_text() == "\n\n"


def test_an_endless_list_is_not_read_to_its_end(fakes: Fakes) -> None:
    engine = fakes(squeue="exec yes")
    engine._tools._limit_s = 60.0
    assert engine.look() is None
    assert engine.problem == "squeue printed more than 16 MiB"


def test_commands_that_are_not_there_are_named(tmp_path: Path) -> None:
    engine = SlurmEngine("ours", environ={"PATH": str(tmp_path)})
    assert engine.look() is None
    assert engine.problem == "squeue is not installed here, or not on PATH"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("sleep 30", EngineSilent),
        ("echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1", EngineSilent),
        ("echo 'sbatch: error: invalid partition specified: x' >&2; exit 1", LaunchFailed),
    ],
)
def test_a_refusal_and_silence_are_told_apart(
    fakes: Fakes, tmp_path: Path, script: str, error: type[Exception]
) -> None:
    engine = fakes(sbatch=script)
    with pytest.raises(error):
        engine.submit(job(tmp_path))
    assert not (tmp_path / "job" / RECEIPT).exists()


def test_a_job_is_handed_in_once_and_what_it_needs_comes_by_the_script(
    fakes: Fakes, tmp_path: Path
) -> None:
    seen = shlex.quote(str(tmp_path / "seen"))
    engine = fakes(sbatch=f'cat >> {seen}; for word; do echo "$word" >> {seen}; done; echo "42;cl"')
    for _ in range(2):
        engine.submit(job(tmp_path))
    text = (tmp_path / "seen").read_text()
    assert text.count("#!/bin/sh") == 1
    assert "exec /usr/bin/env 'X=$HOME 中' python3 'a b.py'" in text
    assert (tmp_path / "job" / RECEIPT).read_text() == "42\n"


def test_an_output_that_is_a_link_or_a_pipe_is_not_read(fakes: Fakes, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = tmp_path / "slurm.log"
    link.symlink_to(secret)
    engine = fakes(
        squeue=f"echo {shlex.quote(line('RUNNING'))}", scontrol=f"echo JobId=7 StdOut={link} Power="
    )
    assert engine.logs("a", 100) == ""
    link.unlink()
    link.write_text("0123456789")
    assert engine.logs("a", 4) == "6789"
    assert json.dumps(slurm_engine._tail("/dev/zero", 4)) == '""'
