"""A number that the kernel gave away again: its new owner is not taken for the launch, nor hit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("whose", "before"),
    [
        ("main", {"alive": [False, False], "listed": [], "polled": None}),
        # The main process lives on, and is all that is left.
        ("supervisor", {"alive": [False, True], "listed": ["reused"], "polled": True}),
    ],
)
def test_a_stranger_with_a_recorded_number_is_left_alone(
    tmp_path: Path, whose: str, before: dict[str, object]
) -> None:
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("needs root, for a pid namespace")
    unshare = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    done = subprocess.run(
        [*unshare, sys.executable, "-m", "tests.support.reuse", str(tmp_path), whose],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen == {**before, "end": "gone", "strangers_hit": 0}
