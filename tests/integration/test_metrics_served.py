"""``/metrics`` of the real program, before, during and after somebody's work."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.support.client import first_admin, new_user
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

SETTINGS = {"COMFYUI_ARGS": "--demo-zero-boot", "STOP_TIMEOUT": "2", "LOG_FORMAT": "json"}


def read(manager: ManagerProcess) -> dict[str, float]:
    """Give each sample by its name and labels as they are written."""
    token = (manager.data_dir / "metrics_token").read_text(encoding="ascii")
    answer = requests.get(
        f"{manager.url}/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    assert answer.status_code == 200
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_one_session_of_use_is_counted(tmp_path: Path) -> None:
    manager = ManagerProcess(tmp_path, rows=1, settings=SETTINGS)
    with manager, first_admin(manager) as admin, new_user(admin, "ann") as ann:
        key = manager.data_dir / "metrics_token"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert requests.get(f"{manager.url}/metrics", timeout=30).status_code == 401
        before = read(manager)
        assert before["comfyui_manager_ports idle"] == 1
        ann.start()
        during = read(manager)
        assert during["comfyui_manager_ports running"] == 1
        assert during["comfyui_manager_starts_total"] == 1
        assert (
            during["comfyui_manager_gate_reloads_total taken"]
            > before["comfyui_manager_gate_reloads_total taken"]
        )
        wait_until(
            lambda: read(manager)["comfyui_manager_watch_lateness_seconds_count"] > 1,
            what="checks are counted",
        )
        ann.stop()
        after = read(manager)
        assert after["comfyui_manager_stops_total user"] == 1
        assert after["comfyui_manager_stops_total died"] == 0
        # The same program, writing its log as JSON: ports can be searched for as ever.
        log = manager.log_path.read_text(encoding="utf-8").splitlines()
        assert all(line.startswith("{") for line in log)
        assert any(f"端口 {manager.ports[0]}" in line for line in log)
