"""The pictures the demo makes: a colour gradient, the word DEMO and the prompt's text."""

from __future__ import annotations

import colorsys
import os
import re
import textwrap
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

MOST_PIXELS = 2048
_NUMBERED = re.compile(r"_(\d{5,})_\.png\Z")


@dataclass(frozen=True)
class Picture:
    """What is drawn. ``seed`` picks the colours when ``color`` is None."""

    width: int
    height: int
    text: str
    seed: int
    color: int | None = None


def draw(picture: Picture) -> Image.Image:
    """Draw one picture."""
    size = (_limited(picture.width), _limited(picture.height))
    dark, light = _colours(picture)
    ramp = Image.linear_gradient("L").rotate(picture.seed % 4 * 90).resize(size)
    image = Image.composite(Image.new("RGB", size, light), Image.new("RGB", size, dark), ramp)
    # A soft light from the middle: a radial gradient is bright at the rim, so it is the mask.
    glow = Image.radial_gradient("L").resize(size).point(lambda value: 150 + value * 105 // 255)
    image = Image.composite(image, Image.new("RGB", size, (255, 244, 230)), glow)
    if min(size) >= 96:
        _write(image, picture.text)
    return image


def save(image: Image.Image, folder: Path, prefix: str) -> tuple[str, str]:
    """Save under the next free number, as ``prefix_00001_.png``.

    Returns:
        File name and the subfolder it is in, empty for the folder itself.

    Raises:
        OSError: it cannot be written.
        ValueError: the prefix leads out of the folder.
    """
    target = folder / prefix
    parent = Path(os.path.normpath(target.parent))
    if not parent.is_relative_to(folder):
        raise ValueError("Saving image outside the output folder is not allowed.")
    parent.mkdir(parents=True, exist_ok=True)
    name = f"{target.name}_{_next_number(parent, target.name):05}_.png"
    # The whole picture or none under its final name: a stop may come at any moment.
    part = parent / f".{name}.part"
    image.save(part, format="PNG", compress_level=4)
    part.replace(parent / name)
    subfolder = str(parent.relative_to(folder))
    return name, "" if subfolder == "." else subfolder


def _next_number(folder: Path, prefix: str) -> int:
    taken = [0]
    for path in folder.iterdir():
        match = _NUMBERED.search(path.name)
        if match and path.name[: match.start()] == prefix:
            taken.append(int(match[1]))
    return max(taken) + 1


def _limited(pixels: int) -> int:
    return min(max(pixels, 1), MOST_PIXELS)


def _colours(picture: Picture) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    if picture.color is not None:
        red, green, blue = (picture.color >> shift & 255 for shift in (16, 8, 0))
        return (red // 2, green // 2, blue // 2), (red, green, blue)
    hue = zlib.crc32(f"{picture.text}{picture.seed}".encode()) % 360 / 360
    return _rgb(hue, 0.75, 0.32), _rgb((hue + 0.14) % 1, 0.62, 0.86)


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _write(image: Image.Image, text: str) -> None:
    pen = ImageDraw.Draw(image)
    width, height = image.size
    big = ImageFont.load_default(max(18, min(width, height) // 5))
    pen.text((width / 2, height * 0.44), "DEMO", fill="white", font=big, anchor="mm")
    # Pillow's own font has no Chinese; boxes would be worse than nothing.
    if text and text.isascii():
        small = ImageFont.load_default(max(11, min(width, height) // 22))
        lines = "\n".join(textwrap.wrap(text, 34)[:4])
        place = (width / 2, height * 0.66)
        pen.multiline_text(place, lines, fill="white", font=small, anchor="mm", align="center")
