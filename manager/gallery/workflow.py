"""What ComfyUI writes into a PNG about how it was made: text chunks named ``workflow``, ``prompt``.

Reads the chunks itself, which is little (PNG specification, section 11.3.3): no pixel is decoded
and nothing is unpacked without a limit, so it may be done within the manager.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NAMES = ("workflow", "prompt")
MOST_BYTES = 4 * 1024 * 1024
"""Of one text; a large workflow has some hundred KiB."""

MOST_CHUNKS = 64


@dataclass(frozen=True)
class Workflow:
    """The texts, each valid JSON as it stands in the file; None where there is none."""

    workflow: str | None = None
    prompt: str | None = None


def read(descriptor: int) -> Workflow:
    """Read an open file; nothing where it is no PNG, is damaged, or holds no such text."""
    if os.pread(descriptor, len(SIGNATURE), 0) != SIGNATURE:
        return Workflow()
    found: dict[str, str] = {}
    at = len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        head = os.pread(descriptor, 8, at)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            break
        if kind in _READERS and length <= MOST_BYTES:
            keyword, text = _text(kind, os.pread(descriptor, length, at + 8))
            if keyword in NAMES and _is_json(text):
                found[keyword] = text
        at += 12 + length
    return Workflow(**found)


def _text(kind: bytes, content: bytes) -> tuple[str, str]:
    keyword, _, rest = content.partition(b"\0")
    return keyword.decode("latin-1"), _READERS[kind](rest)


def _plain(rest: bytes) -> str:
    return rest.decode("latin-1")


def _packed(rest: bytes) -> str:
    return _unpack(rest[1:]).decode("latin-1")


def _international(rest: bytes) -> str:
    packed, text = rest[:1] == b"\x01", rest[2:].split(b"\0", 2)[-1]
    return (_unpack(text) if packed else text).decode("utf-8", "replace")


def _unpack(content: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, MOST_BYTES)
    except zlib.error:
        return b""


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


_READERS = {b"tEXt": _plain, b"zTXt": _packed, b"iTXt": _international}
