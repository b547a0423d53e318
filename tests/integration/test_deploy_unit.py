"""The systemd unit: that what keeps users' work alive is in it, and what would hurt is not."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from manager.cli import EXIT_SETTINGS
from manager.launcher import groups

pytestmark = pytest.mark.integration

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "comfyui-manager.service"
PLACE = "/opt/comfyui-multi-user-manager"

OWN_NAMESPACE = re.compile(
    r"Private(Tmp|Devices|Mounts|Users|Network|IPC)|Protect\w+|ReadOnlyPaths|ReadWritePaths"
    r"|InaccessiblePaths|ExecPaths|NoExecPaths|Bind(ReadOnly)?Paths|TemporaryFileSystem"
    r"|RootDirectory|RootImage|MountAPIVFS|DynamicUser|StateDirectory|ProcSubset"
)
"""Settings that give a service a mount namespace (systemd.exec(5)), or a changing account."""


def settings(text: str) -> dict[str, configparser.SectionProxy]:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return {name: parser[name] for name in parser.sections()}


def test_the_unit_keeps_instances_alive() -> None:
    service = settings(UNIT.read_text(encoding="utf-8"))["Service"]
    assert service["KillMode"] == "process"
    assert service["OOMPolicy"] == "continue"
    assert service["Delegate"] == "yes"
    assert service["DelegateSubgroup"] == groups.LEAF
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == str(EXIT_SETTINGS)
    assert int(service["LimitNOFILE"]) >= 65_536
    assert int(service["TimeoutStopSec"]) >= 30
    assert service["TasksMax"] == "infinity"


def test_the_unit_has_no_mount_namespace_of_its_own() -> None:
    service = settings(UNIT.read_text(encoding="utf-8"))["Service"]
    assert [name for name in service if OWN_NAMESPACE.fullmatch(name)] == []


def test_the_unit_starts_what_there_is_where_the_text_says() -> None:
    unit = settings(UNIT.read_text(encoding="utf-8"))
    service = unit["Service"]
    assert service["WorkingDirectory"] == PLACE
    python, script, command = service["ExecStart"].split()
    assert python == f"{PLACE}/venv/bin/python"
    assert (UNIT.parents[1] / script).is_file()
    assert command == "serve"
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    told = (UNIT.parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
    assert PLACE in told
    assert f"deploy/{UNIT.name}" in told


def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    """Where there is a systemd; the tests above hold everywhere."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text(encoding="utf-8").replace(PLACE, str(tmp_path)))
    verify = shutil.which("systemd-analyze")
    said = ""
    if verify:
        done = subprocess.run(
            [verify, "verify", "--man=no", str(copy)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # Words about other units of this machine are not about ours, and before version 254 one
        # name is new to systemd, which goes on without it.
        new = "DelegateSubgroup"
        lines = [line for line in done.stderr.splitlines() if UNIT.name in line]
        said = "\n".join(line for line in lines if new not in line)
    assert said == ""
