# mypy: ignore-errors
"""Notes the names of the headers that a ComfyUI or the demo gets, as a custom node can."""

import sys

SEEN = set()
"""Names in lower case, of all requests so far."""


def watch() -> None:
    """Begin to look at requests, in whatever way this program allows."""
    if "server" in sys.modules and hasattr(sys.modules["server"], "PromptServer"):
        _watch_comfyui(sys.modules["server"].PromptServer.instance.app)
    elif "flask" in sys.modules:
        _watch_flask(sys.modules["flask"].Flask)


def _watch_comfyui(app) -> None:
    from aiohttp import web

    @web.middleware
    async def note(request, handler):
        SEEN.update(name.lower() for name in request.headers)
        return await handler(request)

    app.middlewares.insert(0, note)


def _watch_flask(flask) -> None:
    answer = flask.__call__

    def noting(app, environ, start_response):
        names = [name[5:] for name in environ if name.startswith("HTTP_")]
        SEEN.update(name.lower().replace("_", "-") for name in names)
        return answer(app, environ, start_response)

    flask.__call__ = noting
