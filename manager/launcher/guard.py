"""Runs ComfyUI so that it answers only to who knows its secret; a program of its own, run by path.

    python guard.py FRAMEWORK SECRET_FILE SCRIPT [ARGUMENT ...]

ComfyUI has no authentication, and every program of the machine reaches 127.0.0.1. So before SCRIPT
runs, the web framework it is built on is changed: each request, websocket, file and unknown path
without the header ``X-ComfyUI-Manager-Secret`` gets 403 before anything else sees it. FRAMEWORK is
``aiohttp`` for ComfyUI and ``flask`` for the demo. SCRIPT then runs as if it had been run alone:
same ``sys.argv``, ``sys.path``, ``__main__`` and working directory. Custom nodes that call their
own ComfyUI find the secret's file in the environment: ``COMFYUI_MANAGER_SECRET_FILE``.

The front page gets one script of the gate's (``TAB_SCRIPT``), and how far the work is that goes on
now is answered here (``PROGRESS_PATH``), from where ComfyUI keeps it; nothing of it is changed.

What cannot be guarded is not started: the exit code is ``NOT_GUARDED`` and the log says why. It
runs under ComfyUI's own Python (3.9 or newer), which has none of the manager's packages.
"""

from __future__ import annotations

import hmac
import importlib
import os
import re
import runpy
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

HEADER = "X-ComfyUI-Manager-Secret"
SECRET_VARIABLE = "COMFYUI_MANAGER_SECRET_FILE"  # noqa: S105 - a name
"""For ComfyUI's own code, which could find its secret anyway. Only this process can read a path
below ``/proc/self``: a program that it starts must be handed the secret."""

REFUSAL = "Access denied: this ComfyUI is reached through its workspace link only.\n"
NOT_GUARDED = 78
"""Exit code: nothing was started because it could not be guarded (EX_CONFIG of sysexits.h)."""

Theirs = Any
"""An object of a framework whose types are not here to be imported."""

TAB_SCRIPT = b'<script src="/.gate/tab.js" async></script>'
"""Has an open page leave when another user opens a workspace in its browser: it would go in with
the new one's cookie."""

_HEAD = re.compile(rb"<head(\s[^>]*)?>", re.IGNORECASE)
_OF_THE_FILE = frozenset({"Content-Type", "Content-Length", "ETag", "Last-Modified"})
PROGRESS_PATH = "/comfyui-multi-user-manager/progress"
TEXT_LIMIT = 100
"""Letters of a node's name that are passed on."""

_SECRET = re.compile(r"[A-Za-z0-9]{32,}")
_WSGI_HEADER = "HTTP_" + HEADER.upper().replace("-", "_")


class CannotGuardError(Exception):
    """Says why nothing may be started."""


def read_secret(path: str) -> str:
    """Read the secret of this launch.

    Raises:
        CannotGuardError: there is none, or it is too short to be one.
    """
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - a string from the arguments
            secret = file.read().strip()
    except (OSError, ValueError) as error:
        raise CannotGuardError(f"its secret {path} cannot be read ({error})") from None
    if not _SECRET.fullmatch(secret):
        raise CannotGuardError(f"{path} holds no secret")
    return secret


def _same(given: str, secret: str) -> bool:
    """Compare in constant time; what is not ASCII must not be an error."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def guard_aiohttp(secret: str) -> None:
    """Put the check before everything in each ``aiohttp.web.Application``.

    It goes in at the last moment, when the application is frozen for serving: a custom node may
    have put its own middleware first until then (docs.aiohttp.org, "Middlewares").

    Raises:
        CannotGuardError: this aiohttp does not let itself be guarded.
    """
    web = importlib.import_module("aiohttp.web")
    freeze = web.Application.pre_freeze

    def pre_freeze(app: Theirs) -> None:
        if not app.pre_frozen:
            app.middlewares.insert(0, web.middleware(_aiohttp_check(app, secret, web)))
        freeze(app)

    web.Application.pre_freeze = pre_freeze
    trial = web.Application(middlewares=[_nothing])
    trial.freeze()
    if len(trial.middlewares) != 2 or trial.middlewares[1] is not _nothing:
        raise CannotGuardError("aiohttp does not take the check in")


async def _nothing(request: Theirs, handler: Callable[[Theirs], Awaitable[Theirs]]) -> Theirs:
    """Stand for a custom node's middleware in the trial."""
    return await handler(request)


def _aiohttp_check(app: Theirs, secret: str, web: Theirs) -> Callable[..., Awaitable[Theirs]]:
    progress = Progress()

    async def only_with_secret(
        request: Theirs, handler: Callable[[Theirs], Awaitable[Theirs]]
    ) -> Theirs:
        if request.match_info.apps[0] is not app:
            # An application inside another one: the outer one has asked already.
            return await handler(request)
        given = request.headers.getall(HEADER, [])
        if len(given) != 1 or not _same(given[0], secret):
            return web.Response(status=403, text=REFUSAL)
        if request.method == "GET" and request.path == PROGRESS_PATH:
            return web.json_response(progress.said())
        answer = await handler(_without_header(request))
        return _told_aiohttp(answer, web) if request.path == "/" else answer

    return only_with_secret


def with_tab_script(page: bytes) -> bytes:
    """Give a page with the gate's script in it; what has no head stays as it is."""
    return _HEAD.sub(lambda head: head[0] + TAB_SCRIPT, page, count=1)


def _told_aiohttp(answer: Theirs, web: Theirs) -> Theirs:
    """Put the gate's script into ComfyUI's front page, a file; any other answer stays as it is."""
    path = getattr(answer, "_path", None)
    if path is None or answer.status != 200 or not str(path).endswith(".html"):
        return answer
    headers = {name: value for name, value in answer.headers.items() if name not in _OF_THE_FILE}
    with open(path, "rb") as file:  # noqa: PTH123 - whatever aiohttp keeps there
        page = with_tab_script(file.read())
    return web.Response(body=page, content_type="text/html", charset="utf-8", headers=headers)


def _without_header(request: Theirs) -> Theirs:
    """Give the request as custom nodes may see it."""
    headers = request.headers.copy()
    del headers[HEADER]
    try:
        return request.clone(headers=headers)
    except UnicodeEncodeError:
        # aiohttp cannot copy a header that is not UTF-8. The secret is this instance's own, which
        # its code could read anyway: better seen than the visitor's request lost.
        return request


class Progress:
    """How far ComfyUI is with the prompt that it works on, read where it keeps that for itself.

    From ComfyUI 0.3.64 to 0.38 that is ``prompt_queue.currently_running`` of its server, and the
    registry of ``comfy_execution.progress``, out of which it tells its own websockets.
    """

    def __init__(self) -> None:
        """Begin before the first prompt."""
        self._prompt_id: Theirs = None
        self._since = 0.0
        self._needed: set[str] = set()

    def said(self) -> dict[str, Theirs]:
        """Give it as JSON; empty while nothing runs, ``unknown`` where this cannot be read."""
        try:
            queue = sys.modules["server"].PromptServer.instance.prompt_queue
            for task, item in list(queue.currently_running.items()):
                return self._of(task, item)
        except (LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            return {"unknown": f"{type(error).__name__}: {error}"[:TEXT_LIMIT]}
        return {}

    def _of(self, task: int, item: Sequence[Theirs]) -> dict[str, Theirs]:
        prompt_id, graph = item[1], item[2]
        if prompt_id != self._prompt_id:
            self._needed = _needed(graph, item[4])
            self._prompt_id, self._since = prompt_id, time.monotonic()
        seconds = time.monotonic() - self._since
        said = {"prompt_id": prompt_id, "task": task, "seconds": seconds, "finished": 0}
        said["nodes"] = len(self._needed)
        registry = sys.modules["comfy_execution.progress"].get_progress_state()
        if registry.prompt_id != prompt_id:
            # It has just been taken out of the queue.
            return said
        states = {name: (node, node["state"].value) for name, node in list(registry.nodes.items())}
        said["finished"] = sum(states.get(n, ("", ""))[1] == "finished" for n in self._needed)
        running = [name for name, (_, state) in states.items() if state == "running"]
        # Of several the one that counts its steps.
        running.sort(key=lambda name: states[name][0]["max"] > 1)
        if running:
            said.update(_node(running[-1], states[running[-1]][0], graph, registry.dynprompt))
        return said


def _node(name: str, state: Theirs, graph: Theirs, dynamic: Theirs) -> dict[str, Theirs]:
    shown = graph.get(dynamic.get_display_node_id(name)) or {}
    title = (shown.get("_meta") or {}).get("title") or ""
    return {
        "node": str(name)[:TEXT_LIMIT],
        "class_type": str(dynamic.get_node(name)["class_type"])[:TEXT_LIMIT],
        "title": str(title)[:TEXT_LIMIT],
        "value": float(state["value"]),
        "max": float(state["max"]),
    }


def _needed(graph: Theirs, outputs: Iterable[str]) -> set[str]:
    """List the nodes that an output depends on: no others are run."""
    todo, found = list(outputs), set()
    while todo:
        name = todo.pop()
        if name not in found and name in graph:
            found.add(name)
            given = graph[name]["inputs"].values()
            links = (one for one in given if isinstance(one, list) and len(one) == 2)
            todo.extend(one[0] for one in links if isinstance(one[0], str))
    return found


def guard_flask(secret: str) -> None:
    """Put the check before every ``flask.Flask``, as WSGI middleware around the whole of it."""
    flask = importlib.import_module("flask")
    call = flask.Flask.__call__

    def only_with_secret(app: Theirs, environ: Theirs, start_response: Theirs) -> Iterable[bytes]:
        given = environ.pop(_WSGI_HEADER, "")
        if _same(given, secret):
            told = _told_wsgi(start_response) if environ.get("PATH_INFO") == "/" else None
            answer: Iterable[bytes] = call(app, environ, told or start_response)
            return [with_tab_script(b"".join(answer))] if told else answer
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [REFUSAL.encode()]

    flask.Flask.__call__ = only_with_secret


def _told_wsgi(start_response: Theirs) -> Theirs:
    """Leave the length out, which the page with the gate's script in it no longer has."""

    def start(status: str, headers: list[tuple[str, str]], *rest: Theirs) -> Theirs:
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        return start_response(status, kept, *rest)

    return start


GUARDS: Mapping[str, Callable[[str], None]] = {"aiohttp": guard_aiohttp, "flask": guard_flask}


def stay_through_restart(script: str, before: Sequence[str]) -> None:
    """Keep the guard, the words ``before``, when ``script`` replaces itself by a new run of itself.

    ComfyUI-Manager's restart button does ``os.execv(sys.executable, [sys.executable, *sys.argv])``.
    """
    plain_execv, plain_execve = os.execv, os.execve

    def guarded(path: Theirs, argv: Sequence[Theirs]) -> list[Theirs]:
        words = list(argv)
        if os.path.realpath(path) == os.path.realpath(sys.executable) and script in words:
            at = words.index(script)
            words[at:at] = before
        return words

    def execv(path: Theirs, argv: Sequence[Theirs]) -> Theirs:
        return plain_execv(path, guarded(path, argv))

    def execve(path: Theirs, argv: Sequence[Theirs], env: Theirs) -> Theirs:
        return plain_execve(path, guarded(path, argv), env)

    vars(os).update(execv=execv, execve=execve)


def main(framework: str, secret_file: str, script: str) -> None:
    """Guard, then become the script."""
    before = [os.path.abspath(__file__), framework, os.path.abspath(secret_file)]  # noqa: PTH100
    folder = os.path.dirname(os.path.realpath(script))  # noqa: PTH120
    # Ours would be found before ComfyUI's packages, and ComfyUI expects its own here.
    sys.path[0] = folder
    try:
        GUARDS[framework](read_secret(secret_file))
    except (CannotGuardError, ImportError, AttributeError, KeyError) as error:
        sys.stderr.write(f"[guard] ComfyUI was not started, it cannot be guarded: {error}\n")
        sys.exit(NOT_GUARDED)
    stay_through_restart(script, before)
    os.environ[SECRET_VARIABLE] = before[2]
    sys.argv = sys.argv[3:]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:4])
