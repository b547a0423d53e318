"""Pictures in a user's folder, whole and made to do harm."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from PIL import Image, PngImagePlugin

WORKSPACE = "7-ann-0123abcd"
WORKFLOW = '{"nodes": [{"id": 1, "title": "绘制"}]}'
PROMPT = '{"1": {"class_type": "KSampler"}}'


def workspace(data_dir: Path, name: str = WORKSPACE) -> Path:
    """Make a workspace and give its output folder."""
    output = data_dir / "workspaces" / name / "output"
    output.mkdir(parents=True)
    return output


def png(path: Path, at: float | None = None, size: tuple[int, int] = (64, 48)) -> Path:
    """Write a PNG as ComfyUI does, changed at ``at`` (epoch seconds)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", PROMPT)
    texts.add_itxt("workflow", WORKFLOW)
    Image.new("RGB", size, (30, 120, 200)).save(path, pnginfo=texts)
    if at is not None:
        os.utime(path, (at, at))
    return path


def chunk(kind: bytes, content: bytes) -> bytes:
    """Make a PNG chunk."""
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def bomb(path: Path, width: int = 60_000, height: int = 60_000) -> Path:
    """Write a small PNG that says it is huge: 10 GB unpacked."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(3 * width + 1) * 200, 9)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )
    return path
