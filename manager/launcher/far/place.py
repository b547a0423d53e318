"""How a launch begins on a node: where it listens, on which card, below which supervisor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manager.launcher import notes, supervisor
from manager.launcher.far import hosts
from manager.launcher.processes import MARKER
from manager.launcher.run_dir import RunDir

if TYPE_CHECKING:
    from manager.launcher.far.keeper import Keeper

SUPERVISOR = str(Path(supervisor.__file__).resolve())

GIVEN = "CUDA_VISIBLE_DEVICES"
"""What engines that only know of GPUs set for every kind of card (Slurm: gres.conf, "gres/gpu")."""


class CannotStartError(Exception):
    """Says why a launch cannot run on this node."""


def begin(run: RunDir, job: dict[str, Any], host: str, keeper: Keeper) -> int:
    """Start the supervisor of a launch.

    Returns:
        Its process number.

    Raises:
        CannotStartError: nothing runs; says why.
    """
    words, env = list(job["words"]), dict(job["env"])
    card = _card(job)
    env.update(card)
    env[MARKER] = run.path.name
    keeper.cards = ",".join(card.values())
    port = _port(job, host)
    if port:
        words = _listening(words, host, port, str(job["tls"]))
        notes.write_file(str(run.path / "address"), json.dumps({"host": host, "port": port}))
        keeper.address = (host, port)
    if shutil.which(words[0], path=env.get("PATH", "")) is None:
        raise CannotStartError(f"there is no program {words[0]} on this node that may be run")
    # The supervisor must not outlive this program, which alone hears orders and beats.
    limit = f"{int(job['log_max'])}:{os.getpid()}"
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", SUPERVISOR, str(run.path), limit, *words],
            env=env,
            cwd=job["cwd"],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise CannotStartError(str(error)) from error
    return child.pid


def _card(job: dict[str, Any]) -> dict[str, str]:
    """Take over the card that the engine gave, under the name that this kind of card reads.

    Raises:
        CannotStartError: it gave none, so whatever card was used would be somebody else's, too.
    """
    variable = job["card_variable"]
    if not variable:
        return {}
    given = os.environ.get(variable) or os.environ.get(GIVEN)
    if not given:
        raise CannotStartError(f"the engine gave it no card: neither {variable} nor {GIVEN} is set")
    # The others would number the same cards once more.
    return {variable: given}


def _port(job: dict[str, Any], host: str) -> int:
    """Choose the port to listen on; 0 for a program that does not.

    Raises:
        CannotStartError: it cannot be had.
    """
    port = int(job["port"])
    if not port:
        return 0
    if not host:
        told = ", ".join(job["hosts"]) or "none was told"
        raise CannotStartError(f"no address of this node is known to be reached by ({told})")
    if hosts.is_free(host, port):
        return port
    if not job["any_port"]:
        raise CannotStartError(f"port {port} of {host} is taken by another program")
    try:
        return hosts.free_port(host)
    except OSError as error:
        raise CannotStartError(f"no port of {host} is free: {error}") from error


def _listening(words: list[str], host: str, port: int, tls: str) -> list[str]:
    """Have ComfyUI listen where others reach this node, by TLS alone (its ``cli_args.py``)."""
    words = list(words)
    for flag, value in (("--listen", host), ("--port", str(port))):
        if flag not in words[:-1]:
            raise CannotStartError(f"its command line has no {flag}")
        words[words.index(flag) + 1] = value
    return [*words, "--tls-keyfile", tls, "--tls-certfile", tls]
