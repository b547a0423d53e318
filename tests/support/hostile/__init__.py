# mypy: ignore-errors
"""A custom node that tries to break out of its ComfyUI, and notes what came of it.

It waits for ``input/hostile.json`` to name its targets, and writes ``output/hostile-report.json``:
for each attempt one word and the kernel's name for the error, never what was found.
"""

import importlib
import json
import os
import sys
import threading
import time

attempts = importlib.import_module(__name__ + ".attempts")
headers = importlib.import_module(__name__ + ".headers")

LOOK_S = 0.05


class Hostile:
    """A node, so that ComfyUI takes this for a package of nodes; its work is done in a thread."""

    CATEGORY = "hostile"
    RETURN_TYPES = ()
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's name
        return {"required": {}}

    def run(self):
        return ()


NODE_CLASS_MAPPINGS = {"Hostile": Hostile}


def named(flag: str) -> str:
    return sys.argv[sys.argv.index(flag) + 1]


def wait_for_targets() -> None:
    wanted = os.path.join(named("--input-directory"), "hostile.json")
    report = os.path.join(named("--output-directory"), "hostile-report.json")
    while not os.path.exists(wanted):
        time.sleep(LOOK_S)
    with open(wanted) as file:
        targets = json.load(file)
    found = attempts.run(targets, headers.SEEN)
    with open(report + ".part", "w") as file:
        json.dump(found, file)
    os.rename(report + ".part", report)


headers.watch()
attempts.leave_shared_memory(int(named("--port")))
threading.Thread(target=wait_for_targets, daemon=True).start()
