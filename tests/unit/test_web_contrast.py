"""The colours of both schemes keep WCAG 2.2 AA: 4.5 for words, 3 for what outlines a control."""

from __future__ import annotations

import re

import pytest

from manager.settings import ROOT

CSS = (ROOT / "static" / "css" / "base.css").read_text(encoding="utf-8")
LIGHT_TEXT, DARK_TEXT = CSS.split("@media (prefers-color-scheme: dark)")[:2]
TOKEN = re.compile(r"--([a-z-]+): (#[0-9a-f]{6});")
LIGHT = dict(TOKEN.findall(LIGHT_TEXT))
SCHEMES = {"light": LIGHT, "dark": {**LIGHT, **dict(TOKEN.findall(DARK_TEXT))}}

WORDS = [
    *((front, back) for front in ("text", "muted") for back in ("ground", "surface", "sunken")),
    *((tone, f"{tone}-soft") for tone in ("good", "busy", "bad", "calm")),
    *((tone, back) for tone in ("good", "bad", "accent") for back in ("surface", "ground")),
    ("accent", "accent-soft"),
    ("text", "accent-soft"),
    ("text", "busy-soft"),
    ("text", "bad-soft"),
    ("on-accent", "accent"),
    ("on-accent", "accent-hover"),
    ("on-bad", "bad"),
    ("ground", "text"),
]
OUTLINES = [("line-strong", "surface"), ("accent", "calm-soft"), ("accent", "ground")]


def luminance(colour: str) -> float:
    def linear(part: str) -> float:
        value = int(part, 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(colour[n : n + 2]) for n in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [*((f, b, 4.5) for f, b in WORDS), *((f, b, 3.0) for f, b in OUTLINES)],
)
def test_the_contrast_is_enough(scheme: str, front: str, back: str, least: float) -> None:
    colours = SCHEMES[scheme]
    assert contrast(colours[front], colours[back]) >= least
