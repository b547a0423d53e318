"""The command line and environment of an instance."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

import pytest

from manager.comfyui_flags import FORBIDDEN, forbidden_flags
from manager.errors import LaunchFailed
from manager.launcher.command import Command, build_command, clean_environment
from manager.launcher.protocol import GUARD
from manager.launcher.pythons import homes
from manager.ports import make_row
from manager.settings import ROOT, Settings, names
from manager.workspace import Workspace

ROW = make_row(8003, 9003, 9083, 3)


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o700)
    return path


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").write_text("")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    at = tmp_path / "workspaces" / "1-alice"
    return Workspace(at, at / "input", at / "output", at / "temp", at / "user", at / "home")


def build(
    comfyui: Path,
    place: Workspace,
    kind: str = "ascend",
    environ: dict[str, str] | None = None,
    **changes: object,
) -> Command:
    settings = dataclasses.replace(Settings(), comfyui_path=comfyui, **changes)  # type: ignore[arg-type]
    return build_command(
        settings, ROW, kind, place, "launch1", environ or {"PATH": "/usr/bin:/bin"}
    )


def test_every_flag_of_isolation_is_given(comfyui: Path, place: Workspace) -> None:
    argv = build(comfyui, place, comfyui_args=("--lowvram",)).argv
    assert argv[1:] == (
        str(comfyui / "main.py"),
        *("--listen", "127.0.0.1", "--port", "8003"),
        *("--input-directory", str(place.input), "--output-directory", str(place.output)),
        *("--temp-directory", str(place.temp), "--user-directory", str(place.user)),
        *("--database-url", f"sqlite:///{place.user}/comfyui.db"),
        *("--disable-api-nodes", "--lowvram"),
    )


@pytest.mark.parametrize(
    ("kind", "variable"),
    [
        ("ascend", "ASCEND_RT_VISIBLE_DEVICES"),
        ("cuda", "CUDA_VISIBLE_DEVICES"),
        ("rocm", "HIP_VISIBLE_DEVICES"),
    ],
)
def test_the_card_is_given_by_the_drivers_variable(
    comfyui: Path, place: Workspace, kind: str, variable: str
) -> None:
    command = build(comfyui, place, kind, {"PATH": "/usr/bin", variable: "0,1,2,3"})
    assert command.env[variable] == "2"
    assert [name for name in command.env if name.endswith("VISIBLE_DEVICES")] == [variable]
    assert "--cpu" not in command.argv


def test_cuda_counts_as_its_tool_does(comfyui: Path, place: Workspace) -> None:
    assert build(comfyui, place, "cuda").env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_cpu_gets_the_flag_and_no_variable(comfyui: Path, place: Workspace) -> None:
    command = build(comfyui, place, "cpu")
    assert "--cpu" in command.argv
    assert not [name for name in command.env if name.endswith("VISIBLE_DEVICES")]


def test_the_marker_and_a_temporary_folder_of_its_own(comfyui: Path, place: Workspace) -> None:
    env = build(comfyui, place).env
    assert env["COMFYUI_MANAGER_LAUNCH"] == "launch1"
    assert env["TMPDIR"] == str(place.temp)


def test_python_is_the_setting_then_the_venv_then_the_path(
    comfyui: Path, place: Workspace, tmp_path: Path
) -> None:
    on_path = program(tmp_path / "bin" / "python3")
    environ = {"PATH": f"{sys.prefix}/bin:{on_path.parent}"}
    assert build(comfyui, place, environ=environ).argv[0] == str(on_path)
    dot_venv = program(comfyui / ".venv" / "bin" / "python")
    assert build(comfyui, place, environ=environ).argv[0] == str(dot_venv)
    venv = program(comfyui / "venv" / "bin" / "python")
    assert build(comfyui, place, environ=environ).argv[0] == str(venv)
    own = program(tmp_path / "conda" / "python")
    command = build(comfyui, place, environ=environ, comfyui_python=str(own))
    assert command.argv[0] == str(own)
    assert command.cwd == comfyui
    assert command.demo is False


def test_no_python_names_the_setting(comfyui: Path, place: Workspace, tmp_path: Path) -> None:
    with pytest.raises(LaunchFailed, match="set COMFYUI_PYTHON"):
        build(comfyui, place, environ={"PATH": str(tmp_path)})
    with pytest.raises(LaunchFailed, match="COMFYUI_PYTHON = '/nowhere'"):
        build(comfyui, place, comfyui_python="/nowhere")


def test_the_demo_gets_the_same_arguments(comfyui: Path, place: Workspace) -> None:
    real = build(comfyui, place)
    (comfyui / "main.py").unlink()
    demo = build(comfyui, place)
    assert demo.demo is True
    assert demo.argv[:2] == (sys.executable, str(ROOT / "demo" / "main.py"))
    assert demo.argv[2:] == real.argv[2:]
    assert Path(demo.argv[1]).is_file()


def test_a_comfyui_folder_that_may_not_be_entered_does_not_raise(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_named: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("os.stat", refuse)
        assert Settings().demo is True


def test_secrets_settings_and_our_own_python_stay_behind() -> None:
    dropped = {
        **dict.fromkeys(names(), "x"),
        **dict.fromkeys(("MANAGER_CONFIG", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV"), "x"),
        **dict.fromkeys(
            ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "OPENAI_API_KEY", "db_password"), "x"
        ),
        **dict.fromkeys(("SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "NOTIFY_SOCKET"), "x"),
    }
    kept = {
        "HOME": "/home/lab",
        "LANG": "zh_CN.UTF-8",
        "LD_LIBRARY_PATH": "/usr/local/Ascend/driver/lib64",
        "ASCEND_HOME_PATH": "/usr/local/Ascend",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTORCH_NPU_ALLOC_CONF": "x",
        "https_proxy": "http://proxy:3128",
        "PATH": "/usr/bin",
    }
    assert clean_environment({**dropped, **kept}) == kept


def test_only_our_own_entries_leave_the_search_paths() -> None:
    cann = "/usr/local/Ascend/ascend-toolkit/latest/python/site-packages"
    env = clean_environment(
        {"PATH": f"{ROOT}/venv/bin:/usr/bin:{sys.prefix}/bin", "PYTHONPATH": f"{ROOT}:{cann}:"}
    )
    assert env == {"PATH": "/usr/bin", "PYTHONPATH": cann}
    assert "PYTHONPATH" not in clean_environment({"PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize(
    "word",
    [*FORBIDDEN, "--listen=0.0.0.0", "--lis", "--out", "--cuda-d", "--port=1", "--user", "--multi"],
)
def test_flags_that_undo_the_separation_are_refused(
    comfyui: Path, place: Workspace, word: str
) -> None:
    assert forbidden_flags(["--lowvram", word, "value"]) == [word]
    with pytest.raises(LaunchFailed, match=word):
        build(comfyui, place, comfyui_args=("--lowvram", word, "value"))


def test_harmless_flags_pass() -> None:
    words = [
        "--lowvram",
        "--preview-method",
        "auto",
        "--reserve-vram",
        "2",
        "--",
        "-p",
        "--demo-flood",
    ]
    words += [
        "--extra-model-paths-config",
        "/models.yaml",
        "--cuda-malloc",
        "--default-device",
        "1",
    ]
    assert forbidden_flags(words) == []


def test_no_beginning_of_a_refused_flag_gets_past_argparse() -> None:
    parser = argparse.ArgumentParser()
    for flag in FORBIDDEN:
        parser.add_argument(flag, nargs="?", const="x")
    for flag in FORBIDDEN:
        for end in range(3, len(flag) + 1):
            assert forbidden_flags([flag[:end]]), flag[:end]


def test_what_it_must_be_able_to_read_is_named(comfyui: Path, place: Workspace) -> None:
    program(comfyui / "venv" / "bin" / "python")
    packages = comfyui.parent / "packages"
    command = build(comfyui, place, environ={"PATH": "/usr/bin", "PYTHONPATH": f"{packages}:/"})
    assert {comfyui, GUARD.parent, packages} <= set(command.readable)
    assert Path("/") not in command.readable


def test_the_demo_reads_its_own_folder_and_packages(place: Workspace, tmp_path: Path) -> None:
    readable = build(tmp_path / "none", place).readable
    for needed in (ROOT / "demo", Path(sys.prefix), Path(sys.base_prefix)):
        assert needed in readable


def installation(folder: Path) -> Path:
    (folder / "lib" / "python3.11").mkdir(parents=True)
    return program(folder / "bin" / "python3.11")


def test_a_venv_needs_what_it_was_made_from(tmp_path: Path) -> None:
    base = installation(tmp_path / "base")
    (tmp_path / "opt").symlink_to(base.parent.parent)
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text(f"home = {tmp_path}/opt/bin\nversion = 3.11\n")
    link = venv / "bin" / "python"
    link.symlink_to(tmp_path / "opt" / "bin" / "python3.11")
    assert homes(str(link)) == (venv, tmp_path / "opt", base.parent.parent)
    link.unlink()
    copied = program(link)
    assert homes(str(copied)) == (venv, *homes(str(tmp_path / "opt" / "bin" / "python")))


@pytest.mark.parametrize("folder", ["bin", "sub/bin"])
def test_a_python_that_is_no_installation_opens_its_own_folder_only(
    tmp_path: Path, folder: str
) -> None:
    assert homes(str(program(tmp_path / folder / "python"))) == (tmp_path / folder,)


def test_links_in_a_ring_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert homes(str(tmp_path / "a")) == (tmp_path,)


def test_python_in_the_root_folder_does_not_open_the_disk() -> None:
    assert Path("/") not in homes("/bin/python3")


@pytest.mark.parametrize(("node", "device"), [(None, "2"), ("gpu-b", None), ("any", None)])
def test_of_a_card_elsewhere_its_engine_alone_says_which_it_is(
    comfyui: Path, place: Workspace, node: str | None, device: str | None
) -> None:
    settings = dataclasses.replace(Settings(), comfyui_path=comfyui)
    row = dataclasses.replace(ROW, node=node)
    built = build_command(settings, row, "ascend", place, "launch1", {"PATH": "/usr/bin:/bin"})
    assert built.env.get("ASCEND_RT_VISIBLE_DEVICES") == device
