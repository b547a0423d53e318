"""What green threads must not wait for in their one real thread."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

PROGRAM = """
import socket
from _thread import get_native_id as thread
asked = []
def look_up(host, *_given):
    asked.append((host, thread()))
    return []
socket.getaddrinfo = look_up
main = thread()
from manager import runtime
runtime.setup("eventlet")
for host in ("name.example", "127.0.0.1"):
    socket.getaddrinfo(host, 80)
print([(host, one == main) for host, one in asked])
"""


def test_names_are_looked_up_beside_the_green_loop() -> None:
    # A name server that is away takes many seconds, in C, and nothing else would run.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "[('name.example', False), ('127.0.0.1', True)]", done.stderr
