"""What is said to Ray's Jobs API and what it says, as our own records. Pure.

Fields as Ray 2.60 has them (``JobDetails`` in ``ray/dashboard/modules/job/pydantic_models.py``,
``NodeState`` in ``ray/util/state/common.py``). Whatever else is there is let be; what is missing or
of another kind is not known.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from manager.launcher.engine import EngineNode, Job, JobReport, JobState

MARK = "comfyui-manager"
"""Metadata of a job: which manager's it is."""

ASKED = "comfyui-manager.asked"
"""Metadata of a job: what it asked for, which Ray does not list; without it nobody could ask again.
"""

LABEL = "label."

SHARE = 0.001
"""Of a node's own resource, which pins a job to it; of a processor, without which a job that asks
for nothing else would always be placed on the head."""

RESOURCES = {"ascend": "NPU", "cuda": "GPU", "rocm": "GPU"}
"""What Ray calls the cards (Ray documentation, "Accelerator Support"); ``cpu`` has none."""

STATES = {
    "PENDING": JobState.QUEUED,
    "RUNNING": JobState.RUNNING,
    "STOPPED": JobState.ENDED,
    "SUCCEEDED": JobState.ENDED,
    "FAILED": JobState.ENDED,
}

GAVE_UP = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
"""``error_type`` of a job that found no place within ``RAY_JOB_START_TIMEOUT_SECONDS``."""

MOST_WHY = 400
MOST_WORDS = 100_000
"""Bytes of a command line: Ray hands it to a shell as one argument, which Linux lets be 128 KiB."""

_AMD = "accelerator_type:AMD"


def submission(job: Job, mark: str, stop_wait_s: int) -> dict[str, object]:
    """Give the body that hands a job in.

    Its environment goes through ``env``: in ``runtime_env`` Ray would expand ``$`` and ``${}``, and
    give its own worker the same variables. Only what is for that worker stands there: how long it
    waits after a polite signal before it kills (Ray's default is 3 s).
    """
    asked = _asked(job)
    labels = {LABEL + name: text for name, text in job.labels.items()}
    return {
        "submission_id": job.name,
        "entrypoint": shlex.join(words(job)),
        "runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(stop_wait_s)}},
        "metadata": {**labels, MARK: mark, ASKED: json.dumps(asked)},
        **asked,
    }


def _asked(job: Job) -> dict[str, object]:
    resources: dict[str, float] = {}
    asked: dict[str, object] = {"entrypoint_resources": resources}
    resource = RESOURCES.get(job.kind)
    if resource == "GPU" and job.cards:
        asked["entrypoint_num_gpus"] = job.cards
    elif resource and job.cards:
        resources[resource] = job.cards
    else:
        asked["entrypoint_num_cpus"] = SHARE
    if job.node is not None:
        resources[f"node:{job.node}"] = SHARE
    return asked


def words(job: Job) -> tuple[str, ...]:
    """Give the command line with its environment."""
    given = [f"{name}={value}" for name, value in job.env.items()]
    return ("/usr/bin/env", *given, *job.words) if given else job.words


def again(entry: Mapping[str, Any]) -> dict[str, object] | None:
    """Give the body that hands a listed job in once more; None: it is not known what it asked."""
    try:
        asked = json.loads(entry["metadata"][ASKED])
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    names = ("submission_id", "entrypoint", "runtime_env", "metadata")
    if not isinstance(asked, dict) or not all(entry.get(name) for name in names):
        return None
    return {**asked, **{name: entry[name] for name in names}}


def ours(listing: object, mark: str) -> dict[str, Mapping[str, Any]] | None:
    """Pick this manager's jobs out of all; None: that is no list of jobs."""
    if not isinstance(listing, list) or not all(isinstance(one, dict) for one in listing):
        return None
    found: dict[str, Mapping[str, Any]] = {}
    for entry in listing:
        name, about = entry.get("submission_id"), entry.get("metadata")
        if isinstance(name, str) and isinstance(about, dict) and about.get(MARK) == mark:
            found[name] = entry
    return found


def report(entry: Mapping[str, Any]) -> JobReport:
    """Say how a listed job is."""
    status = entry.get("status")
    state = STATES.get(status, JobState.UNKNOWN) if isinstance(status, str) else JobState.UNKNOWN
    host = _host(entry.get("driver_agent_http_address"))
    return JobReport(state, host, host, _why(entry, state))


def gave_up(entry: Mapping[str, Any]) -> bool:
    """Tell whether Ray ended a job that had not begun because it waited too long for its place."""
    began = entry.get("driver_node_id") or entry.get("driver_agent_http_address")
    return entry.get("status") == "FAILED" and entry.get("error_type") == GAVE_UP and not began


def nodes(states: object, status: object) -> tuple[EngineNode, ...] | None:
    """Say what machines there are; None: that is no list of nodes.

    Args:
        states: what ``/api/v0/nodes?detail=1`` answers.
        status: what ``/api/cluster_status`` answers; None where it does not.
    """
    listed = _at(states, "data", "result", "result")
    if not isinstance(listed, list):
        return None
    used = _at(status, "data", "clusterStatus", "loadMetricsReport", "usageByNode")
    found: dict[str, EngineNode] = {}
    for entry in sorted((one for one in listed if isinstance(one, dict)), key=_age):
        node = _node(entry, used)
        # One that was begun anew is listed as dead, too.
        if node is not None and not (node.name in found and not node.alive):
            found[node.name] = node
    return tuple(found[name] for name in sorted(found))


def _age(entry: Mapping[str, Any]) -> float:
    began = entry.get("start_time_ms")
    return float(began) if isinstance(began, int | float) else 0.0


def _node(entry: Mapping[str, Any], used: object) -> EngineNode | None:
    address, total = entry.get("node_ip"), entry.get("resources_total")
    if not isinstance(address, str) or not address:
        return None
    total = total if isinstance(total, dict) else {}
    alive = {"ALIVE": True, "DEAD": False}.get(str(entry.get("state")))
    why = entry.get("state_message")
    return EngineNode(
        name=address,
        host=address,
        alive=alive,
        cards=dict(_counted(total, total)),
        held=_held(total, _at(used, str(entry.get("node_id")))) if alive else None,
        why=line(why) if isinstance(why, str) else "",
    )


def _counted(total: Mapping[str, Any], numbers: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    gpu = "rocm" if any(name.startswith(_AMD) for name in total) else "cuda"
    for kind, resource in (("ascend", "NPU"), (gpu, "GPU")):
        count = numbers.get(resource)
        if isinstance(count, int | float) and math.isfinite(count):
            yield kind, math.ceil(count)


def _held(total: Mapping[str, Any], used: object) -> dict[str, int] | None:
    if not isinstance(used, dict):
        return None
    pairs = {name: pair[0] for name, pair in used.items() if isinstance(pair, list) and pair}
    return dict(_counted(total, pairs))


def _host(address: object) -> str | None:
    try:
        return urlsplit(address).hostname if isinstance(address, str) else None
    except ValueError:
        return None


def _why(entry: Mapping[str, Any], state: JobState) -> str:
    message = entry.get("message")
    if not isinstance(message, str) or state is JobState.RUNNING:
        return ""
    if state is JobState.QUEUED:
        return "no machine has a free place for it yet"
    return line(message)


def line(text: str) -> str:
    """Make one short line of what Ray says."""
    return "".join(c if c.isprintable() else " " for c in text)[:MOST_WHY].strip()


def _at(value: object, *names: str) -> object:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def tail_of_logs(raw: bytes, max_bytes: int) -> str:
    """Give the end of the text in the end of ``{"logs": "…"}``, JSON with ASCII letters alone."""
    end = raw.rstrip()
    if not end.endswith(b'"}'):
        return ""
    end = end[:-2]
    start = b'{"logs": "'
    # The cut may go through one letter, which has up to twelve of ASCII.
    for at in [len(start)] if end.startswith(start) else range(13):
        try:
            text: str = json.loads(b'"' + end[at:] + b'"')
        except ValueError:
            continue
        return text.encode("utf-8", "replace")[-max_bytes:].decode("utf-8", "ignore")
    return ""
