"""The house's rules that no linter knows: nothing happens at import, and one runtime for all."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from manager import cli, settings

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = sorted((ROOT / "manager").rglob("*.py"))
LINES, TALLEST_FUNCTION = 300, 40

IMPORT_EVERYTHING = """
import os, socket, sqlite3, subprocess, sys, threading
def forbidden(*args, **kwargs):
    raise AssertionError(f"done at import: {args}")
class NoSocket(socket.socket):
    def connect(self, *args):
        forbidden("connect", args)
    def bind(self, *args):
        forbidden("bind", args)
import flask, flask_socketio, limits.strategies, requests, werkzeug.serving
socket.socket = NoSocket
subprocess.Popen = sqlite3.connect = threading.Thread.start = forbidden
os.environ.clear()
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_importing_a_module_does_nothing() -> None:
    # The supervisor is a program of its own, started by path.
    names = [_name(p) for p in MODULES if p.stem != "supervisor"]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_modules_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < TALLEST_FUNCTION, node.name


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_what_breaks_under_green_threads_is_not_used(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in ("preexec_fn", "wait_procs", "select.poll", "multiprocessing", "threading.local"):
        assert word not in text
    if path.name != "runtime.py":
        assert "import eventlet" not in text


def test_the_catch_all_stands_in_one_place() -> None:
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kind = node.type if isinstance(node, ast.ExceptHandler) else ast.Constant(0)
            if kind is None or getattr(kind, "id", "") == "Exception":
                found.append(_name(path))
    assert found == ["manager.watch"]


def test_html_stays_in_templates() -> None:
    for path in MODULES:
        text = path.read_text(encoding="utf-8").lower()
        assert "<div" not in text, path
        assert "<!doctype" not in text, path


def test_the_command_line_leaves_its_caller_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """The entry sets what the process creates; whoever imports the commands keeps his own."""
    before = os.umask(0o022)
    try:
        assert cli.main(settings.defaults(), ["check"]) == 0, capsys.readouterr()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
