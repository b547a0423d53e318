"""The queue, the one worker and the history; everything in memory, as in ComfyUI.

The order of a job's events is ComfyUI's (``execution.py``): execution_start, execution_cached,
executing and progress for each node, executed for outputs, then success, error or interrupted.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from demo.graph import Json, Plan

KEPT = 1000
DEFAULT_SECONDS = 2.0
LONGEST_SECONDS = 24 * 3600.0
QUICK = {"EmptyImage": 0.05, "SaveImage": 0.05, "PreviewImage": 0.05, "LoadImage": 0.05}
STEP_S = 0.1
MOST_STEPS = 20

Tell = Callable[[str, Json, "str | None"], None]
Output = Callable[[str, Json], Json]


@dataclass(order=True)
class Job:
    """One prompt in the queue; lower numbers first, negative ones ahead of all."""

    number: float
    prompt_id: str = field(compare=False)
    prompt: Json = field(compare=False)
    extra: Json = field(compare=False)
    plan: Plan = field(compare=False)
    client_id: str | None = field(compare=False)
    messages: list[list[Any]] = field(compare=False, default_factory=list)
    outputs: Json = field(compare=False, default_factory=dict)
    executed: list[str] = field(compare=False, default_factory=list)

    def item(self) -> list[Any]:
        """Give the five parts that ``/queue`` and ``/history`` show."""
        return [self.number, self.prompt_id, self.prompt, self.extra, self.plan.outputs]


class Interrupted(Exception):
    """Somebody asked the running job to stop."""


class Jobs:
    """One worker and those who wait for it."""

    def __init__(self, tell: Tell, changed: Callable[[], None], output: Output) -> None:
        """Take the ways out.

        Args:
            tell: sends an event to the client of a job.
            changed: called after each change of the queue.
            output: runs an output node and gives what it produced; may raise OSError, ValueError.
        """
        self._tell, self._changed, self._output = tell, changed, output
        self._lock = threading.Condition()
        self._pending: list[Job] = []
        self._running: Job | None = None
        self._node: str | None = None
        self._step, self._steps = 0, 1
        self._begun_at = 0.0
        self._task = -1
        self._interrupt = threading.Event()
        self._history: dict[str, Json] = {}
        self._numbers = itertools.count()

    def start(self) -> None:
        """Begin to work."""
        threading.Thread(target=self._work, name="worker", daemon=True).start()

    def submit(self, prompt: Json, plan: Plan, body: Json) -> Job:
        """Queue a checked prompt; ``front`` and ``number`` of the request choose its place."""
        extra = dict(body["extra_data"]) if isinstance(body.get("extra_data"), dict) else {}
        client_id = body.get("client_id")
        if isinstance(client_id, str):
            extra["client_id"] = client_id
        extra["create_time"] = round(time.time() * 1000)
        prompt_id = str(body.get("prompt_id") or uuid.uuid4())
        with self._lock:
            number: float = next(self._numbers)
            if isinstance(body.get("number"), int | float):
                number = body["number"]
            elif body.get("front"):
                number = -number
            sender = client_id if isinstance(client_id, str) else None
            job = Job(number, prompt_id, prompt, extra, plan, sender)
            heapq.heappush(self._pending, job)
            self._lock.notify()
        self._changed()
        return job

    def queue(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """Give what runs and what waits."""
        with self._lock:
            running = [self._running.item()] if self._running else []
            return running, [job.item() for job in sorted(self._pending)]

    def remaining(self) -> int:
        """Count running and waiting jobs together."""
        with self._lock:
            return len(self._pending) + (self._running is not None)

    def current(self) -> tuple[str, str] | None:
        """Give the running job's id and node, for a client that comes back."""
        with self._lock:
            if self._running is None or self._node is None:
                return None
            return self._running.prompt_id, self._node

    def progress(self) -> Json:
        """Say how far the running job is, as the guard says it of ComfyUI; empty without one."""
        with self._lock:
            job, name = self._running, self._node
            if job is None:
                return {}
            said: Json = {
                "prompt_id": job.prompt_id,
                "task": self._task,
                "seconds": time.monotonic() - self._begun_at,
                "finished": len(job.executed),
                "nodes": len(job.plan.order),
            }
            if name is not None:
                node = job.prompt[name]
                meta = node.get("_meta")
                said |= {"node": name, "class_type": node["class_type"]}
                said["title"] = str(meta.get("title", "")) if isinstance(meta, dict) else ""
                said |= {"value": float(self._step), "max": float(self._steps)}
            return said

    def drop(self, prompt_ids: list[str] | None) -> None:
        """Take jobs out of the queue, all when None; the running one goes on."""
        with self._lock:
            kept = self._pending if prompt_ids is not None else []
            self._pending = [job for job in kept if job.prompt_id not in (prompt_ids or ())]
            heapq.heapify(self._pending)
        self._changed()

    def interrupt(self, prompt_id: str | None) -> None:
        """Stop the running job, if it is this one or none is named; the next one is not touched."""
        with self._lock:
            if self._running and prompt_id in {None, self._running.prompt_id}:
                self._interrupt.set()

    def history(self) -> dict[str, Json]:
        """Give all finished jobs, oldest first."""
        with self._lock:
            return dict(self._history)

    def forget(self, prompt_ids: list[str] | None) -> None:
        """Remove finished jobs from the history, all when None."""
        with self._lock:
            for prompt_id in list(self._history) if prompt_ids is None else prompt_ids:
                self._history.pop(prompt_id, None)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._pending)
                job = self._running = heapq.heappop(self._pending)
                self._task += 1
                self._begun_at = time.monotonic()
                self._interrupt.clear()
            self._changed()
            self._run(job)

    def _run(self, job: Job) -> None:
        self._event(job, "execution_start", {})
        self._event(job, "execution_cached", {"nodes": []})
        ending, details = "execution_success", {}
        try:
            for node_id in job.plan.order:
                self._run_node(job, node_id)
        except Interrupted:
            ending, details = "execution_interrupted", self._where(job)
        except (OSError, ValueError, TypeError) as error:
            ending = "execution_error"
            details = self._where(job) | {
                "exception_message": str(error),
                "exception_type": type(error).__name__,
                "traceback": [],
            }
        self._event(job, ending, details)
        self._finish(job, success=ending == "execution_success")

    def _run_node(self, job: Job, node_id: str) -> None:
        node = job.prompt[node_id]
        with self._lock:
            self._node, self._step, self._steps = node_id, 0, _steps(_seconds(node))
        here = {"node": node_id, "display_node": node_id, "prompt_id": job.prompt_id}
        self._tell("executing", here, job.client_id)
        self._pass_time(job, node_id, _seconds(node))
        if node_id in job.plan.outputs:
            produced = self._output(node_id, job.prompt)
            job.outputs[node_id] = produced
            self._tell("executed", {**here, "output": produced}, job.client_id)
        job.executed.append(node_id)

    def _pass_time(self, job: Job, node_id: str, seconds: float) -> None:
        steps = _steps(seconds)
        for step in range(1, steps + 1):
            if self._interrupt.wait(seconds / steps):
                raise Interrupted
            self._step = step
            if steps > 1:
                data = {"value": step, "max": steps, "prompt_id": job.prompt_id, "node": node_id}
                self._tell("progress", data, job.client_id)

    def _where(self, job: Job) -> Json:
        node_id = self._node or ""
        kind = job.prompt[node_id]["class_type"] if node_id else ""
        return {"node_id": node_id, "node_type": kind, "executed": list(job.executed)}

    def _event(self, job: Job, kind: str, data: Json) -> None:
        message = {"prompt_id": job.prompt_id, "timestamp": round(time.time() * 1000), **data}
        job.messages.append([kind, message])
        self._tell(kind, message, job.client_id)

    def _finish(self, job: Job, *, success: bool) -> None:
        status = {
            "status_str": "success" if success else "error",
            "completed": success,
            "messages": job.messages,
        }
        meta = {
            node: {"node_id": node, "display_node": node, "parent_node": None, "real_node_id": node}
            for node in job.outputs
        }
        entry = {"prompt": job.item(), "outputs": job.outputs, "status": status, "meta": meta}
        with self._lock:
            self._running = self._node = None
            self._history[job.prompt_id] = entry
            while len(self._history) > KEPT:
                del self._history[next(iter(self._history))]
        self._changed()
        self._tell("executing", {"node": None, "prompt_id": job.prompt_id}, job.client_id)


def _steps(seconds: float) -> int:
    return min(MOST_STEPS, max(1, round(seconds / STEP_S)))


def _seconds(node: Json) -> float:
    wanted = node["inputs"].get("seconds")
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return min(max(float(wanted), 0.0), LONGEST_SECONDS)
    return QUICK.get(node["class_type"], DEFAULT_SECONDS)
