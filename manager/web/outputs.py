"""A user's own pictures: list, small and whole pictures, the workflow behind one, delete and undo.

Each route speaks of the files of who asks, and of nobody else's; admins see their own here too.
What is served was made by anybody's code: it goes out as a picture or as a download, with nothing
in it that a browser would run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

from flask import Blueprint, Flask, Response, current_app, request
from flask.typing import ResponseReturnValue
from pydantic import Field

from manager.errors import Conflict, NotFound
from manager.gallery import Gallery, Opened
from manager.gallery.scan import KINDS
from manager.runtime import offload
from manager.web import bodies
from manager.web.answers.user import Deleted, Pictures, Restored
from manager.web.answers.user import Workflow as Texts
from manager.web.contract import Files, contract
from manager.web.guard import current_user
from manager.web.house import Manager
from manager.web.openapi import NOT_MODIFIED
from manager.web.services import services

outputs = Blueprint("outputs", __name__, url_prefix="/api/user/outputs")

EXTENSION = "comfyui_manager_gallery"
ON_A_PAGE = 12
PIECE_BYTES = 256 * 1024
KEEP = "private, no-cache"
"""For addresses that carry the content's version: kept by the visitor's own browser, and asked for
each time, so that whoever uses that browser next gets none of them. What is still good costs an
answer without a body (304)."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""For a picture opened by itself; the style is what browsers centre it with."""

View = dict[str, Any]


MEDIA_TYPES = tuple(sorted({kind.media_type for kind in KINDS.values()}))


class PageQuery(bodies.Query):
    """Which page."""

    page: Annotated[bodies.QueryNumber, Field(ge=1, le=999_999)] = 1


class FileQuery(bodies.Query):
    """Which file, by its path below the output folder, and for a picture's own address its version.

    With ``download``, whatever it says, a picture comes as a file to be saved.
    """

    path: str = ""
    v: str | None = None
    download: str | None = None


class WorkflowQuery(bodies.Query):
    """Which file; with ``download`` which text of it is saved: ``workflow`` or ``prompt``."""

    path: str = ""
    download: str | None = None


class Restore(bodies.Body):
    """A file to be put back, and what ``delete`` called it."""

    path: bodies.Line
    trash: bodies.Line


def init_app(app: Flask, manager: Manager) -> None:
    """Make the gallery, and let templates ask for the first page."""
    app.extensions[EXTENSION] = Gallery(manager.settings.data_dir)
    app.jinja_env.globals["own_outputs"] = lambda: page_view(1)


def page_view(page: int) -> View:
    """Show a page of the asking user's files; the last one where there are not so many."""
    listing = _gallery().listing(current_user().workspace)
    pages = max(1, -(-len(listing.pictures) // ON_A_PAGE))
    page = min(page, pages)
    shown = listing.pictures[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]
    return {
        "page": page,
        "pages": pages,
        "total": len(listing.pictures),
        "cut": listing.cut,
        "pictures": [
            {**dataclasses.asdict(one), "name": one.path.rsplit("/", 1)[-1]} for one in shown
        ],
    }


@outputs.get("")
@contract(Pictures)
def index(query: PageQuery) -> ResponseReturnValue:
    """Give a page of the user's files, newest first."""
    return page_view(query.page)


@outputs.get("/thumbnail")
@contract(Files(("image/webp",), is_text=False, kept=True), refuses=(NotFound,))
def thumbnail(query: FileQuery) -> ResponseReturnValue:
    """Give a small picture; 404 where none can be made."""
    workspace = current_user().workspace
    opened = _gallery().open(workspace, query.path)
    os.close(opened.descriptor)
    tag = _tag("small", opened)
    if request.if_none_match.contains(tag):
        return _not_modified(tag)
    small = _gallery().thumbnail(workspace, query.path)
    if small is None:
        raise NotFound("no small picture can be made", reason="output")
    response = Response(small, mimetype="image/webp")
    _protect(response, tag)
    response.headers["Content-Disposition"] = "inline"
    return response


@outputs.get("/file")
@contract(Files(MEDIA_TYPES, is_text=False, kept=True), refuses=(NotFound,))
def file(query: FileQuery) -> ResponseReturnValue:
    """Give a whole file: a picture to look at, or anything as a download."""
    opened = _gallery().open(current_user().workspace, query.path)
    tag = _tag("whole", opened)
    if request.if_none_match.contains(tag):
        os.close(opened.descriptor)
        return _not_modified(tag)
    look = opened.media_type.startswith("image/") and query.download is None
    response = Response(_pieces(opened), mimetype=opened.media_type, direct_passthrough=True)
    response.call_on_close(lambda: os.close(opened.descriptor))
    response.content_length = opened.size
    _protect(response, tag)
    _name(response, opened.name, "inline" if look else "attachment")
    return response


@outputs.get("/workflow")
@contract(Texts, refuses=(NotFound,), or_file=Files(("application/json",)))
def workflow(query: WorkflowQuery) -> ResponseReturnValue:
    """Give what a PNG says about how it was made, as JSON texts; as a file when asked so."""
    found = _gallery().workflow(current_user().workspace, query.path)
    kind = query.download
    if kind is None:
        return dataclasses.asdict(found)
    text = found.workflow if kind == "workflow" else found.prompt if kind == "prompt" else None
    if text is None:
        raise NotFound("no such text in this picture", reason="output_workflow")
    response = Response(text, mimetype="application/json")
    _protect(response)
    _name(response, f"{query.path.rsplit('/', 1)[-1]}.{kind}.json", "attachment")
    return response


@outputs.delete("")
@contract(Deleted, refuses=(NotFound,))
def delete(query: FileQuery) -> ResponseReturnValue:
    """Move a file to the trash and say what ``restore`` wants."""
    path, owner = query.path, current_user()
    trash = _gallery().delete(owner.workspace, path)
    services().manager.disk.touch(owner.id)
    return {"path": path, "trash": trash}


@outputs.post("/restore")
@contract(Restored, refuses=(NotFound, Conflict))
def restore(body: Restore) -> ResponseReturnValue:
    """Put a deleted file back."""
    _gallery().restore(current_user().workspace, body.path, body.trash)
    return {"path": body.path}


def _gallery() -> Gallery:
    found: Gallery = current_app.extensions[EXTENSION]
    return found


def _tag(what: str, opened: Opened) -> str:
    """Name what is sent: another user's file of the same path and version has another name."""
    named = f"{what}/{current_user().workspace}/{opened.version}"
    return hashlib.sha256(named.encode()).hexdigest()[:32]


def _not_modified(tag: str) -> Response:
    response = Response(status=NOT_MODIFIED)
    _protect(response, tag)
    return response


def _protect(response: Response, tag: str = "") -> None:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = KEEP if "v" in request.args else "private, no-store"
    if tag:
        response.set_etag(tag)


def _name(response: Response, name: str, how: str) -> None:
    # RFC 6266: a plain name for old browsers, the true one for all others.
    plain = "".join(c if c.isascii() and c not in '"\\%' else "_" for c in name)
    response.headers["Content-Disposition"] = (
        f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    )


def _pieces(opened: Opened) -> Iterator[bytes]:
    """Read the file piece by piece, as long as it was when it was opened."""
    at = 0
    while at < opened.size:
        piece = offload(os.pread, opened.descriptor, min(PIECE_BYTES, opened.size - at), at)
        if not piece:
            return
        at += len(piece)
        yield piece
