"""The programs a manager needs: its Python, Caddy, ComfyUI and what that runs on."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator

from manager import cards
from manager.cards.reading import Unreadable
from manager.cards.sampler import READERS
from manager.cards.tool import Run
from manager.doctor.finding import OK, PROBLEM, WARNING, Finding
from manager.errors import GateFailed
from manager.gate.program import ask_version, find_program
from manager.launcher.command import what_runs
from manager.ports import LOCAL
from manager.settings import Settings

_VERSION = re.compile(r"""__version__\s*=\s*["']([^"']+)""")

MODULES = {"ascend": "torch_npu", "cuda": "torch", "rocm": "torch", "cpu": "torch"}
"""What ComfyUI's Python has to import for each kind of card."""

_ASK = """
import importlib, json, sys
torch = importlib.import_module("torch")
kind = sys.argv[1]
if kind == "ascend":
    importlib.import_module("torch_npu")
    count = torch.npu.device_count()
elif kind == "cpu":
    count = 0
else:
    count = torch.cuda.device_count()
print(json.dumps({"torch": torch.__version__, "count": count}))
"""


def python() -> Iterator[Finding]:
    """Say which Python this is."""
    yield Finding("python", OK, "ok", {"version": platform.python_version()})


def caddy(settings: Settings) -> Iterator[Finding]:
    """Look whether Caddy is there and new enough."""
    try:
        program = find_program(settings.caddy_path)
        version = ask_version(program)
    except GateFailed as error:
        yield Finding("caddy", PROBLEM, "missing", {"reason": error.message})
    else:
        yield Finding("caddy", OK, "ok", {"version": version, "path": str(program)})


def comfyui(settings: Settings, run: Run) -> Iterator[Finding]:
    """Look whether ComfyUI is there, which one, and whether its Python sees the cards."""
    path = settings.comfyui_path
    if settings.demo:
        yield Finding("comfyui", WARNING, "demo", {"path": str(path)})
        return
    yield Finding("comfyui", OK, "ok", {"path": str(path), "version": _version(settings)})
    kind = cards.kind_in_force(settings)
    program, _needed = what_runs(settings)
    told: dict[str, object] = {"python": program, "module": MODULES[kind]}
    try:
        answer = json.loads(run((program, "-c", _ASK, kind)).splitlines()[-1])
        told |= {"torch": answer["torch"], "count": answer["count"]}
    except (Unreadable, ValueError, LookupError, TypeError) as error:
        yield Finding("comfyui_python", PROBLEM, "no_torch", {**told, "reason": str(error)})
        return
    if kind != "cpu" and not told["count"]:
        yield Finding("comfyui_python", PROBLEM, "no_cards", told)
    else:
        yield Finding("comfyui_python", OK, "ok", told)


def _version(settings: Settings) -> str:
    try:
        text = (settings.comfyui_path / "comfyui_version.py").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return "?"
    found = _VERSION.search(text)
    return found[1] if found else "?"


def card_tool(settings: Settings, run: Run) -> Iterator[Finding]:
    """Look whether the driver's tool shows every card of the port table, and each in health."""
    if settings.launcher != LOCAL:
        # They are other machines': of these the engine tells.
        return
    kind = cards.kind_in_force(settings)
    wanted = {row.device: row.card for row in settings.ports}
    if kind == "cpu":
        case = "cpu" if settings.card_kind == "cpu" else "no_tool"
        yield Finding("cards", OK if case == "cpu" else WARNING, case)
        return
    try:
        found = {one.device: one for one in READERS[kind](run)}
    except (Unreadable, ValueError, LookupError, OSError) as error:
        tool = cards.TOOLS[kind]
        yield Finding("cards", PROBLEM, "unreadable", {"tool": tool, "reason": str(error)})
        return
    bad = False
    for device, card in wanted.items():
        one = found.get(device)
        if one is None:
            bad = True
            shown = ", ".join(map(str, sorted(found))) or "-"
            yield Finding(
                "cards", PROBLEM, "missing", {"card": card, "device": device, "shown": shown}
            )
        elif one.health.lower() not in {"", "ok"}:
            bad = True
            yield Finding("cards", WARNING, "unwell", {"card": card, "health": one.health})
    if not bad:
        yield Finding("cards", OK, "ok", {"count": len(wanted), "tool": cards.TOOLS[kind]})
