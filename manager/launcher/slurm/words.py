"""What is said to Slurm's commands and what they print, as our own records. Pure.

Lists are asked for in a format of our own: ``--json`` has other fields with each version, needs a
plugin that not every site has, and printed all jobs of the cluster whatever was asked (22.05).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from manager.launcher.engine import EngineNode, Job, JobReport, JobState

FORMAT = "%A|%T|%B|%r|%k|%j"
"""Of ``squeue``: number, state, machine, reason, comment and name of a job."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_QUEUED = frozenset(
    {
        *("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD"),
        "SPECIAL_EXIT",
    }
)
_RUNNING = frozenset(
    {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"}
)
_ENDED = frozenset(
    {
        *("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL"),
        *("DEADLINE", "OUT_OF_MEMORY", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL"),
    }
)
_ORDER = (JobState.RUNNING, JobState.UNKNOWN, JobState.QUEUED, JobState.ENDED)

_GRES = re.compile(r"([^:,(]+)(?::(\(null\)|[^:,(]+))?:(\d+)(?:\([^)]*\))?")
_FIELD = re.compile(r"(?:^|\s)(\w+)=")

VARIABLES = {
    # The numbers as the machine counts its cards: those of CUDA begin at 0 where a control group
    # hides the other cards, which the Ascend driver does not take into account.
    "ascend": (
        'ASCEND_RT_VISIBLE_DEVICES="${SLURM_JOB_GPUS:-${CUDA_VISIBLE_DEVICES:-}}"',
        "export ASCEND_RT_VISIBLE_DEVICES",
        "unset CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ZE_AFFINITY_MASK",
    ),
    "cuda": (),
    # HIP heeds CUDA's and its own variable on top of ROCr's, and would count twice.
    "rocm": (
        'if [ -n "${ROCR_VISIBLE_DEVICES:-}" ]; then',
        "  unset CUDA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES GPU_DEVICE_ORDINAL",
        "fi",
    ),
}


@dataclass(frozen=True)
class Listed:
    """One line of the list of jobs."""

    number: str
    state: JobState
    report: JobReport


def script(job: Job) -> str:
    """Give the batch script: the card's variable of its kind, and the program in its place."""
    given = [f"{name}={value}" for name, value in job.env.items()]
    words = ("/usr/bin/env", *given, *job.words) if given else job.words
    about = VARIABLES.get(job.kind, ()) if job.cards else ()
    begin = ("#!/bin/sh", "unset LANG LC_ALL", f"PATH={PATH}", "export PATH")
    return "\n".join([*begin, *about, f"exec {shlex.join(words)}", ""])


def submission(job: Job, mark: str, gres: str, more: Sequence[str]) -> list[str]:
    """Give the command that takes the script; ``more`` are options that the site needs."""
    # In file names Slurm replaces what begins with %.
    output = f"{job.folder}/slurm.log".replace("%", "%%")
    words = ["sbatch", "--parsable", "--no-requeue", "--nodes=1", "--ntasks=1", "--chdir=/", *more]
    words += [f"--job-name={job.name}", f"--comment={mark}", f"--output={output}"]
    # Anything else has Slurm look for the account's login environment, which takes seconds.
    words += ["--open-mode=append", "--export=ALL"]
    if job.kind != "cpu" and job.cards and gres:
        words.append(f"--gres={gres}:{job.cards}")
    if job.node is not None:
        words.append(f"--nodelist={job.node}")
    return words


def jobs(printed: str, mark: str, hosts: Mapping[str, str]) -> dict[str, Listed]:
    """Read the list of jobs; of several of one name that which lives most counts."""
    found: dict[str, Listed] = {}
    for line in printed.splitlines():
        fields = line.split("|", 5)
        if len(fields) != 6 or fields[4].strip() != mark:
            continue
        number, state, node, reason, _, name = (field.strip() for field in fields)
        new = Listed(number, _state(state), _report(state, node, reason, hosts))
        old = found.get(name)
        if old is None or _ORDER.index(new.state) < _ORDER.index(old.state):
            found[name] = new
    return found


def _state(text: str) -> JobState:
    words = set(text.split("+"))
    for states, found in (
        (_RUNNING, JobState.RUNNING),
        (_QUEUED, JobState.QUEUED),
        (_ENDED, JobState.ENDED),
    ):
        if words & states:
            return found
    return JobState.UNKNOWN


def _report(text: str, node: str, reason: str, hosts: Mapping[str, str]) -> JobReport:
    state = _state(text)
    placed = node if node not in {"", "n/a", "(null)", "None"} else None
    if state is JobState.QUEUED:
        # While a job is being placed or was just ended Slurm has no reason yet.
        said = f" ({reason})" if reason not in {"", "None"} else ""
        return JobReport(state, why=f"Slurm has no place for it yet{said}")
    why = "" if state is JobState.RUNNING else _ended(text, reason)
    return JobReport(state, placed, hosts.get(placed) if placed else None, why)


def _ended(text: str, reason: str) -> str:
    return f"Slurm says: {text}" + (f" ({reason})" if reason not in {"", "None"} else "")


def fields(line: str) -> dict[str, str]:
    """Read one line of ``scontrol --oneliner show``: ``Name=value``, values with spaces too."""
    marks = list(_FIELD.finditer(line))
    ends = [mark.start() for mark in marks[1:]] + [len(line)]
    pairs = zip(marks, ends, strict=False)
    return {mark.group(1): line[mark.end() : end].strip() for mark, end in pairs}


def nodes(printed: str, gres: str, kind: str) -> tuple[EngineNode, ...]:
    """Read ``scontrol --oneliner --details show nodes``."""
    found = (fields(line) for line in printed.splitlines())
    listed = [_node(about, gres, kind) for about in found if about.get("NodeName")]
    return tuple(sorted(listed, key=lambda node: node.name))


def _node(about: Mapping[str, str], gres: str, kind: str) -> EngineNode:
    state = about.get("State", "")
    words = set(re.split(r"[+*~#!%$@^-]", state))
    alive: bool | None = True
    if words & {"DOWN", "FAIL", "ERROR", "POWERED_DOWN"}:
        alive = False
    elif "*" in state or words & {"UNKNOWN", "NOT_RESPONDING", ""} >= words:
        alive = None
    trouble = state if not alive or words & {"DRAIN", "DRAINING", "DRAINED", "MAINT"} else ""
    reason = about.get("Reason", "")
    name = about["NodeName"]
    used = about.get("GresUsed")
    return EngineNode(
        name=name,
        host=about.get("NodeAddr") or name,
        alive=alive,
        cards={kind: count(about.get("Gres", ""), gres)} if gres else {},
        held={kind: count(used, gres)} if gres and used is not None else None,
        why=": ".join(filter(None, (trouble, reason))),
    )


def count(text: str, gres: str) -> int:
    """Add up what a list such as ``gpu:a100:4(S:0-1),gpu:2(IDX:0-1)`` has of one kind."""
    wanted, _, model = gres.partition(":")
    total = 0
    for name, found, number in _GRES.findall(text):
        if name.strip(" ,") == wanted and (not model or found == model):
            total += int(number)
    return total


def version(printed: str) -> str:
    """Read what ``scontrol --version`` says, such as ``slurm-wlm 22.05.8``."""
    found = re.search(r"\d[\w.]*", printed)
    return found[0] if found else ""


def kind_of(card_kind: str, gres: str) -> str:
    """Say which kind of card a GRES is, by the settings or by its name."""
    if card_kind != "auto":
        return card_kind
    if re.search(r"ascend|npu|[39]10", gres, re.IGNORECASE):
        return "ascend"
    return "rocm" if re.search(r"amd|rocm|mi\d", gres, re.IGNORECASE) else "cuda"
