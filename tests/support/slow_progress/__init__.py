"""A custom node for the demo: it takes a moment to say how far work is, and tells how many ask.

It prints ``asked at once: N`` whenever more ask in the same moment than ever before.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

from flask import Flask

ANSWER_S = 0.3

_plain = Flask.__call__
_lock = threading.Lock()
_asking = [0, 0]
"""Now, and at most."""


def _counted(app: Flask, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if not environ["PATH_INFO"].endswith("/progress"):
        return _plain(app, environ, start_response)
    with _lock:
        _asking[0] += 1
        if _asking[0] > _asking[1]:
            _asking[1] = _asking[0]
            sys.stdout.write(f"asked at once: {_asking[1]}\n")
            sys.stdout.flush()
    try:
        time.sleep(ANSWER_S)
        return _plain(app, environ, start_response)
    finally:
        with _lock:
            _asking[0] -= 1


Flask.__call__ = _counted  # type: ignore[assignment]
