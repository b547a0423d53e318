"""The operator's commands ``install-service`` and ``install-comfyui``: what is typed once."""

from __future__ import annotations

import argparse
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from manager import cards
from manager.errors import BadInput, Conflict
from manager.settings import ROOT, Settings

UNIT = ROOT / "deploy" / "comfyui-manager.service"
UNIT_PLACE = Path("/etc/systemd/system/comfyui-manager.service")
SHIPPED_FOLDER, SHIPPED_ACCOUNT = "/opt/comfyui-multi-user-manager", "comfyui"

COMFYUI = "https://github.com/comfyanonymous/ComfyUI.git"
REACH_S = 20
TORCH = {
    "cuda": "torch torchvision torchaudio",
    "rocm": "torch torchvision torchaudio --index-url https://download.pytorch.org/whl/rocm6.4",
    "cpu": "torch torchvision torchaudio --index-url https://download.pytorch.org/whl/cpu",
    "ascend": "torch torchvision torchaudio torch_npu",
}
"""What pip is told, by kind of card (https://pytorch.org/get-started/locally/). On Ascend the
versions have to fit CANN's; its table is at https://gitee.com/ascend/pytorch."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach a parser both."""
    service = commands.add_parser("install-service", help="write the systemd unit for this folder")
    service.add_argument("--print", action="store_true", dest="show", help="only show it")
    service.add_argument("--user", help="account to run as; the folder's owner if left out")
    service.set_defaults(run=install_service)
    comfyui = commands.add_parser("install-comfyui", help="show how to install ComfyUI, or do it")
    comfyui.add_argument("--kind", choices=list(TORCH), help="kind of card; found out if left out")
    comfyui.add_argument("--yes", action="store_true", help="do it: downloads some GiB")
    comfyui.set_defaults(run=install_comfyui)


def unit_text(folder: Path, account: str) -> str:
    """Give the unit for a folder and an account; without ``User=`` for root.

    Raises:
        BadInput: systemd cannot be told such a folder.
    """
    name = str(folder)
    if re.search(r"[\n\"'\\]", name):
        raise BadInput(f"systemd does not take the folder {name!r}; move it, such as to /opt")
    # systemd.unit(5): % begins a specifier; systemd.service(5): $ a variable, in ExecStart alone.
    plain = name.replace("%", "%%")
    command = f'"{plain}/venv/bin/python"'.replace("$", "$$")
    lines = []
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line.startswith("ExecStart="):
            line = f"ExecStart={command} comfyui_manager.py serve"
        elif line.startswith("WorkingDirectory="):
            line = f"WorkingDirectory={plain}"
        elif line.startswith("User="):
            line = f"User={account}" if account != "root" else "#User=comfyui"
        lines.append(line)
    # The shipped file's first lines say how to fit it by hand.
    while lines and lines[0].startswith("#"):
        del lines[0]
    return "\n".join(lines).strip() + "\n"


def install_service(_settings: Settings, given: argparse.Namespace) -> int:
    """Write the unit, or show it. Nothing is enabled or started."""
    account = given.user or pwd.getpwuid(ROOT.stat().st_uid).pw_name
    try:
        pwd.getpwnam(account)
    except KeyError:
        raise BadInput(f"there is no account {account}") from None
    text = unit_text(ROOT, account)
    if given.show:
        print(text, end="")
        return 0
    if os.geteuid() != 0:
        raise Conflict("only root may write it: sudo ./start_manager.sh install-service")
    if not UNIT_PLACE.parent.is_dir():
        raise Conflict("there is no systemd here; --print shows the unit")
    if UNIT_PLACE.exists() and UNIT_PLACE.read_text(encoding="utf-8") != text:
        aside = UNIT_PLACE.with_name(f"{UNIT_PLACE.name}.before")
        UNIT_PLACE.replace(aside)
        print(f"{aside}: what was there before")
    UNIT_PLACE.write_text(text, encoding="utf-8")
    UNIT_PLACE.chmod(0o644)
    print(f"{UNIT_PLACE}: written, to run as {account}. Now:")
    print("  ./start_manager.sh stop        # if it runs: the service is to be the only one")
    print("  systemctl daemon-reload && systemctl enable --now comfyui-manager")
    return 0


def steps(target: Path, kind: str) -> list[list[str]]:
    """Give the commands that install ComfyUI, in order."""
    python = str(target / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install"]
    return [
        ["git", "clone", "--depth", "1", COMFYUI, str(target)],
        [sys.executable, "-m", "venv", str(target / "venv")],
        [*pip, *TORCH[kind].split()],
        [*pip, "-r", str(target / "requirements.txt")],
    ]


def install_comfyui(settings: Settings, given: argparse.Namespace) -> int:
    """Show how ComfyUI is installed into COMFYUI_PATH; with ``--yes`` do it."""
    target, kind = settings.comfyui_path, given.kind or cards.kind_in_force(settings)
    if not settings.demo:
        print(f"ComfyUI is in {target} already; ./start_manager.sh doctor looks at it")
        return 0
    print(f"ComfyUI into {target} (COMFYUI_PATH) for {kind} (--kind chooses another one):")
    for words in steps(target, kind):
        print(f"  {shlex.join(words)}")
    if kind == "ascend":
        print("torch and torch_npu have to fit CANN: see https://gitee.com/ascend/pytorch")
    if not given.yes:
        print("Type these, or have it done with --yes. Then: ./start_manager.sh restart")
        return 0
    _refuse_what_cannot_work(target)
    for words in steps(target, kind):
        print(f"+ {shlex.join(words)}", flush=True)
        if subprocess.run(words, check=False).returncode:
            raise Conflict(f"this failed; what is there stays in {target}. Remove it to try again")
    print("Done. Now: ./start_manager.sh restart")
    return 0


def _refuse_what_cannot_work(target: Path) -> None:
    """Say what stands in the way before anything is made.

    Raises:
        Conflict: git is missing, the place is taken, or the network does not reach ComfyUI.
    """
    if shutil.which("git") is None:
        raise Conflict("git is not installed: apt install git, or dnf install git")
    if target.exists() and any(target.iterdir()):
        raise Conflict(f"{target} holds something else; set COMFYUI_PATH to a new folder")
    asked = ["git", "ls-remote", "--exit-code", COMFYUI, "HEAD"]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            asked, env=environment, capture_output=True, timeout=REACH_S, check=False
        )
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        told = "" if done.returncode == 0 else (reason or ["no answer"])[-1]
    except subprocess.TimeoutExpired:
        told = f"no answer in {REACH_S} s"
    if told:
        raise Conflict(
            f"{COMFYUI} cannot be reached from here ({told}); nothing was done. Behind a proxy set "
            f"https_proxy. With no network: clone it on another machine with the same system, "
            f"install it there with the commands above, and copy the folder to {target}"
        )
