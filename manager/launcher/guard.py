"""Runs ComfyUI so that it answers only to who knows its secret; a program of its own, run by path.

    python guard.py FRAMEWORK SECRET_FILE SCRIPT [ARGUMENT ...]

ComfyUI has no authentication, and every program of the machine reaches 127.0.0.1. So before SCRIPT
runs, the web framework it is built on is changed: each request, websocket, file and unknown path
without the header ``X-ComfyUI-Manager-Secret`` gets 403 before anything else sees it. FRAMEWORK is
``aiohttp`` for ComfyUI and ``flask`` for the demo. SCRIPT then runs as if it had been run alone:
same ``sys.argv``, ``sys.path``, ``__main__`` and working directory. Custom nodes that call their
own ComfyUI over HTTP find the secret's file in the environment: ``COMFYUI_MANAGER_SECRET_FILE``.

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
    async def only_with_secret(
        request: Theirs, handler: Callable[[Theirs], Awaitable[Theirs]]
    ) -> Theirs:
        if request.match_info.apps[0] is not app:
            # An application inside another one: the outer one has asked already.
            return await handler(request)
        given = request.headers.getall(HEADER, [])
        if len(given) != 1 or not _same(given[0], secret):
            return web.Response(status=403, text=REFUSAL)
        return await handler(_without_header(request))

    return only_with_secret


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


def guard_flask(secret: str) -> None:
    """Put the check before every ``flask.Flask``, as WSGI middleware around the whole of it."""
    flask = importlib.import_module("flask")
    call = flask.Flask.__call__

    def only_with_secret(
        app: Theirs, environ: dict[str, str], start_response: Theirs
    ) -> Iterable[bytes]:
        given = environ.pop(_WSGI_HEADER, "")
        if _same(given, secret):
            answer: Iterable[bytes] = call(app, environ, start_response)
            return answer
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [REFUSAL.encode()]

    flask.Flask.__call__ = only_with_secret


GUARDS: Mapping[str, Callable[[str], None]] = {"aiohttp": guard_aiohttp, "flask": guard_flask}


def stay_through_restart(script: str, before: Sequence[str]) -> None:
    """Keep the guard when the script replaces itself by a new run of itself.

    ComfyUI-Manager's restart button does ``os.execv(sys.executable, [sys.executable, *sys.argv])``.

    Args:
        script: what was run.
        before: the words that must stand before it.
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
