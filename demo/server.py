"""The HTTP and websocket side, in ComfyUI's words (``server.py`` of ComfyUI lists the routes).

Every route but the page and its files exists twice, bare and below ``/api``.
"""

from __future__ import annotations

import json
import sys
import uuid
from argparse import Namespace
from collections.abc import Callable
from typing import NoReturn
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, render_template, request, send_file
from flask.json.provider import DefaultJSONProvider
from flask.typing import ResponseReturnValue as Answer
from simple_websocket import ConnectionClosed  # type: ignore[import-untyped]
from simple_websocket import Server as WebSocket

from demo import faults, studio, texts
from demo.graph import InvalidPrompt, Json, plan
from demo.jobs import Jobs
from demo.places import Places
from demo.sockets import Clients

VERSION = "0.0.0-demo"
PROGRESS_PATH = "/comfyui-multi-user-manager/progress"
GIB = 1 << 30
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class WebSocketEnd(Response):
    """What a view returns when its websocket has ended: nothing more may be written."""

    def __call__(self, environ: object, start_response: object) -> NoReturn:
        """Tell werkzeug to drop the connection."""
        raise ConnectionError


class Api:
    """The routes' bodies."""

    def __init__(self, options: Namespace, places: Places) -> None:
        """Wire queue, pictures and listeners together."""
        self._options = options
        self._places = places
        self._clients = Clients(ConnectionClosed)
        self._jobs = Jobs(self._clients.send, self._announce, studio.Studio(places).produce)
        self._jobs.start()

    def queue(self) -> Answer:
        """``GET`` and ``POST /queue``."""
        if request.method == "GET":
            if self._options.demo_lie_queue:
                return faults.lie(self._options.demo_lie_queue)
            running, pending = self._jobs.queue()
            return {"queue_running": running, "queue_pending": pending}
        body = _body()
        if body.get("clear"):
            self._jobs.drop(None)
        if "delete" in body:
            self._jobs.drop(_names(body["delete"]))
        return ""

    def prompt(self) -> Answer:
        """``GET`` and ``POST /prompt``."""
        if request.method == "GET":
            if self._options.demo_lie_queue:
                return faults.lie(self._options.demo_lie_queue)
            return self._status()
        body = _body()
        if "prompt" not in body:
            kind = "No prompt provided"
            return InvalidPrompt("no_prompt", kind, kind).body, 400
        try:
            checked = plan(body["prompt"])
        except InvalidPrompt as refusal:
            return refusal.body, 400
        job = self._jobs.submit(body["prompt"], checked, body)
        return {"prompt_id": job.prompt_id, "number": job.number, "node_errors": {}}

    def interrupt(self) -> Answer:
        """``POST /interrupt``: any running job, or the named one."""
        body = _body() if request.content_length else {}
        self._jobs.interrupt(body.get("prompt_id"))
        return ""

    def free(self) -> Answer:
        """``POST /free``: there is nothing to free."""
        return ""

    def history(self) -> Answer:
        """``GET /history`` with ``max_items`` and ``offset``, and ``POST /history``."""
        if request.method == "POST":
            body = _body()
            if body.get("clear"):
                self._jobs.forget(None)
            if "delete" in body:
                self._jobs.forget(_names(body["delete"]))
            return ""
        found = list(self._jobs.history().items())
        most = request.args.get("max_items", type=int)
        start = request.args.get("offset", -1, type=int)
        if most is not None:
            # Without an offset ComfyUI gives the newest ones.
            found = found[-most:] if start < 0 else found[start : start + most]
        return dict(found)

    def history_of(self, prompt_id: str) -> Answer:
        """``GET /history/ID``."""
        entry = self._jobs.history().get(prompt_id)
        return {prompt_id: entry} if entry else {}

    def system_stats(self) -> Answer:
        """``GET /system_stats``; ``argv`` tells a poller whether it is the instance it started."""
        system = {
            "os": sys.platform,
            "ram_total": 8 * GIB,
            "ram_free": 6 * GIB,
            "comfyui_version": VERSION,
            "required_frontend_version": VERSION,
            "installed_templates_version": None,
            "required_templates_version": None,
            "python_version": sys.version,
            "pytorch_version": "none",
            "embedded_python": False,
            "argv": sys.argv,
        }
        memory = dict.fromkeys(("vram_total", "torch_vram_total"), 8 * GIB)
        memory |= dict.fromkeys(("vram_free", "torch_vram_free"), 6 * GIB)
        return {
            "system": system,
            "devices": [{"name": "demo", "type": "cpu", "index": 0, **memory}],
        }

    def object_info(self) -> Answer:
        """``GET /object_info``."""
        return studio.OBJECT_INFO

    def progress(self) -> Answer:
        """Answer as the guard does for ComfyUI, beside ComfyUI's own routes."""
        return self._jobs.progress()

    def view(self) -> Answer:
        """``GET /view``: one file of input, output or temp."""
        args = request.args
        try:
            path = self._places.find(
                args.get("type", "output"), args.get("subfolder", ""), args.get("filename", "")
            )
        except ValueError:
            return "", 400
        return ("", 404) if path is None else send_file(path, max_age=0)

    def upload(self) -> Answer:
        """``POST /upload/image``."""
        image, form = request.files.get("image"), request.form
        kind = form.get("type", "input")
        if image is None:
            return "", 400
        try:
            name = self._places.keep_upload(
                kind,
                image.filename or "",
                image.read(),
                overwrite=form.get("overwrite") in {"true", "1"},
            )
        except ValueError:
            return "", 400
        return {"name": name, "subfolder": "", "type": kind}

    def websocket(self) -> Answer:
        """``GET /ws``."""
        # No pings: a quiet socket of ComfyUI carries nothing.
        connection = WebSocket.accept(request.environ)
        client_id = request.args.get("clientId") or uuid.uuid4().hex
        first: list[tuple[str, Json]] = [("status", {"status": self._status(), "sid": client_id})]
        current = self._jobs.current()
        if current and request.args.get("clientId"):
            first.append(("executing", {"prompt_id": current[0], "node": current[1]}))
        try:
            self._clients.join(client_id, connection, first)
            while True:
                self._answer(connection, connection.receive())
        except ConnectionClosed:
            pass
        finally:
            self._clients.leave(client_id, connection)
        return WebSocketEnd()

    def _answer(self, connection: WebSocket, message: object) -> None:
        try:
            content = json.loads(message) if isinstance(message, str) else {}
        except ValueError:
            return
        if isinstance(content, dict) and content.get("type") == "feature_flags":
            reply = {
                "type": "feature_flags",
                "data": {"max_upload_size": _upload_limit(self._options)},
            }
            connection.send(json.dumps(reply))

    def _status(self) -> Json:
        return {"exec_info": {"queue_remaining": self._jobs.remaining()}}

    def _announce(self) -> None:
        self._clients.send_all("status", {"status": self._status()})


def create_app(options: Namespace, places: Places) -> Flask:
    """Build the application; the worker runs from here on."""
    app = Flask("demo", root_path=str(texts.HOME))
    app.config["MAX_CONTENT_LENGTH"] = _upload_limit(options)
    # The history's order means something.
    app.json = DefaultJSONProvider(app)
    app.json.sort_keys = False
    api = Api(options, places)
    hang = faults.Hang(options.demo_hang_http)
    app.before_request(hang)
    app.before_request(_refuse_strangers)
    app.after_request(_headers)
    app.register_error_handler(ValueError, _not_json)
    routes: list[tuple[str, Callable[..., Answer], list[str]]] = [
        ("/queue", api.queue, ["GET", "POST"]),
        ("/prompt", api.prompt, ["GET", "POST"]),
        ("/interrupt", api.interrupt, ["POST"]),
        ("/free", api.free, ["POST"]),
        ("/history", api.history, ["GET", "POST"]),
        ("/history/<prompt_id>", api.history_of, ["GET"]),
        ("/system_stats", api.system_stats, ["GET"]),
        ("/object_info", api.object_info, ["GET"]),
        ("/view", api.view, ["GET"]),
        ("/upload/image", api.upload, ["POST"]),
    ]
    for rule, body, methods in routes:
        app.add_url_rule(rule, rule, body, methods=methods)
        app.add_url_rule(f"/api{rule}", f"/api{rule}", body, methods=methods)
    app.add_url_rule(PROGRESS_PATH, "progress", api.progress)
    for rule in ("/ws", "/api/ws"):
        app.add_url_rule(rule, rule, api.websocket, websocket=True)
    app.add_url_rule("/", "page", _page)
    return app


def _upload_limit(options: Namespace) -> int:
    return round(float(options.max_upload_size) * (1 << 20))  # MB as ComfyUI counts them


def _page() -> str:
    language = texts.choose(request.accept_languages.best_match(["zh", "en"], "en"))
    return render_template("index.html", t=texts.TEXTS[language], language=language)


def _refuse_strangers() -> Response | None:
    """Refuse as ComfyUI does (``create_origin_only_middleware``): pages of other sites.

    Only with a loopback ``Host``; a missing port on either side counts as equal.
    """
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return Response(status=403)
    origin = request.headers.get("Origin")
    host = urlsplit(f"//{request.host}")
    if not origin or host.hostname not in LOOPBACK:
        return None
    other = urlsplit(origin)
    same_port = host.port is None or other.port is None or host.port == other.port
    if other.hostname == host.hostname and same_port:
        return None
    return Response(status=403)


def _headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    if request.path.startswith("/static/"):
        response.headers["Cache-Control"] = "no-cache"
    return response


def _not_json(_error: ValueError) -> tuple[Response, int]:
    # The real one fails on a body that is not JSON and answers 500.
    return jsonify({"error": "500 Internal Server Error"}), 500


def _body() -> Json:
    body = json.loads(request.get_data())
    if not isinstance(body, dict):
        raise ValueError("not a mapping")
    return body


def _names(raw: object) -> list[str]:
    return [name for name in raw if isinstance(name, str)] if isinstance(raw, list) else []
