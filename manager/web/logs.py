"""What an instance printed, for pages that follow it and as a file."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from flask import Response
from pydantic import Field

from manager.web.bodies import Query, QueryNumber
from manager.web.contract import Files
from manager.web.services import services

LOG_BYTES = 16_384
LOG_BYTES_MAX = 262_144
FILE_BYTES = 2 << 20
"""Of the newest in a file: what is taken at once while everybody else waits some 50 ms."""
LOG_FILE = Files(("text/plain",))


class LogQuery(Query):
    """How much of a log is wanted, from its end; ``known`` is the tag of the text one has."""

    bytes: Annotated[QueryNumber, Field(ge=1, le=LOG_BYTES_MAX)] = LOG_BYTES
    known: str = ""


def log_view(launch_id: str | None, query: LogQuery) -> dict[str, Any]:
    """Show the end of a launch's output, with a tag for just this text.

    A page that already has it gets None for it.
    """
    text = services().manager.lifecycle.log_tail(launch_id, query.bytes) if launch_id else ""
    tag = hashlib.blake2b(f"{launch_id}\0{text}".encode(), digest_size=12).hexdigest()
    return {"log": None if query.known == tag else text, "tag": tag}


def log_file(launch_id: str | None, name: str) -> Response:
    """Give the output as a text file with a name of letters, digits and dashes."""
    lifecycle = services().manager.lifecycle
    text = lifecycle.log_tail(launch_id, FILE_BYTES) if launch_id else ""
    headers = {"Content-Disposition": f'attachment; filename="{name}.log.txt"'}
    return Response(text, mimetype="text/plain", headers=headers)
