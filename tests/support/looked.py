"""What a program that shuts itself in is, once it has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from manager.settings import ROOT


def looked(script: str, top: Path) -> tuple[str, dict[str, str]]:
    """Run a script on a folder; give what it printed, and the lines of ``/proc/self/status`` in it.

    The script has the program do no more than print its own, as it is by then (proc(5)).
    """
    said = subprocess.run(
        [sys.executable, "-c", script, str(top)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    return said, dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
