"""The pages' scripts, styles and icons: compressed, and kept by browsers for as long as they like.

The address carries a name for the content of all of them, as a folder: so the icons that a file
names relative to itself carry it too, and after an upgrade every address is a new one. A page's
script comes with all that it imports, and all styles as one file (``bundles``): few requests.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from flask import Flask, Response, request
from flask_compress import Compress

from manager.settings import ROOT
from manager.web import bundles

FOLDER = ROOT / "static"
VERSION_LENGTH = 12
KEEP = "public, max-age=31536000, immutable"
"""A year, and not even asked for again at a reload (RFC 8246)."""


@cache
def version(folder: Path = FOLDER) -> str:
    """Name the content of a folder; read once, as a running manager serves one version."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:VERSION_LENGTH]


@cache
def made(folder: Path = FOLDER) -> Mapping[str, str]:
    """Give what is served that is no file as it lies there; read once, too."""
    return bundles.bundles(folder)


def address() -> str:
    """Give the path below which the files are served."""
    return f"/static/{version()}"


def init_app(app: Flask) -> None:
    """Compress what goes out as text; let browsers keep the static files."""
    # Over plain HTTP browsers take nothing better than gzip.
    app.config.update(COMPRESS_ALGORITHM=["br", "gzip"], COMPRESS_MIN_SIZE=1024)
    # Pictures and films are none of its kinds and go out as they are.
    Compress(app)
    app.after_request(_keep)

    def give(filename: str) -> Response:
        content = made().get(filename)
        if content is None:
            return app.send_static_file(filename)
        kind = mimetypes.guess_type(filename)[0] or "text/plain"
        response = Response(content, mimetype=kind)
        response.set_etag(version())
        response.make_conditional(request)
        return response

    app.view_functions["static"] = give


def _keep(response: Response) -> Response:
    if request.endpoint == "static" and response.status_code in {200, 304}:
        response.headers["Cache-Control"] = KEEP
        if response.status_code == 200 and request.method == "GET":
            # Small files: taken whole they can be sent as gzip, which has no pieces here.
            response.direct_passthrough = False
            response.set_data(response.get_data())
    return response
