"""The settings of a cluster: who places instances on whose cards, and how that one is asked.

A part of ``Settings``; see ``setting_fields``.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from manager.setting_kinds import Choice, PathIn, Text, setting

SET_ANYWAY = tuple(
    f"--{name}"
    for name in (
        *("array", "chdir", "comment", "error", "export", "export-file", "gres", "gpus", "hold"),
        *("gpus-per-node", "gpus-per-task", "job-name", "nodelist", "nodes", "ntasks", "output"),
        *("account", "open-mode", "parsable", "partition", "requeue", "no-requeue", "test-only"),
        *("input", "uid", "gid", "wait", "wrap", "workdir", "get-user-env", "quiet", "begin"),
    )
)


class EngineUrl:
    """Where an engine answers: scheme, host, and if need be port and path; nothing secret."""

    allowed = "an address that begins with http:// or https://"

    def read(self, raw: object) -> str:
        """Read it without the slash at its end."""
        if not isinstance(raw, str) or not re.fullmatch(r"[!-~]+", raw.strip()):
            raise ValueError
        text = raw.strip().rstrip("/")
        found = urlsplit(text)
        # ``port`` raises for what is no number.
        right = found.scheme in {"http", "https"} and found.hostname and found.port != 0
        if not right or found.query or found.fragment or "@" in found.netloc:
            raise ValueError
        return text


class Word:
    """One word for another program's command line; never an option of it."""

    allowed = "letters, digits and . , : _ + -, not - at the beginning; or empty"

    def read(self, raw: object) -> str:
        """Read it as it is."""
        if not isinstance(raw, str) or not re.fullmatch(r"([\w.,:+][\w.,:+-]*)?", raw, re.ASCII):
            raise ValueError
        return raw


class Options:
    """Options of sbatch that the manager does not set itself, each as one word ``--name=value``."""

    allowed = "a list of --name=value, or one line quoted as in a shell; none that is set anyway"

    def read(self, raw: object) -> tuple[str, ...]:
        """Read the options in order."""
        found = shlex.split(raw) if isinstance(raw, str) else raw
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise ValueError
        for option in found:
            name = option.partition("=")[0]
            if not re.fullmatch(r"--[a-z][a-z-]*(=[^\x00-\x1f]+)?", option):
                raise ValueError(f"{option} is none")
            # Slurm takes an option's name cut short, too.
            if any(own.startswith(name) for own in SET_ANYWAY):
                raise ValueError(f"{name} is set by the manager")
        return tuple(found)


@dataclass(frozen=True)
class ClusterFields:
    """Which engine there is, and what it has to be told."""

    launcher: str = setting(
        Choice("local", "ray", "slurm"),
        "local",
        "Where instances run. local: on this machine; ray, slurm: where the cluster's engine "
        "places them, with DATA_DIR and COMFYUI_PATH on storage that all its machines share.",
    )
    cluster_python: str = setting(
        Text(),
        "",
        "With LAUNCHER ray or slurm: Python 3.9 or newer that runs the manager's part on the "
        "other machines. Empty: python3 there.",
    )
    ray_address: str = setting(
        EngineUrl(),
        "http://127.0.0.1:8265",
        "With LAUNCHER ray: where the dashboard of Ray's head answers, which has the Jobs API.",
    )
    ray_token_file: Path = setting(
        PathIn(),
        Path("ray_token"),
        "With LAUNCHER ray, where there is this file: the token of the cluster (RAY_AUTH_MODE = "
        "token), mode 600. Who has it can run anything on all of its machines.",
    )
    ray_ca_file: Path = setting(
        PathIn(),
        Path("ray_ca.pem"),
        "With an https RAY_ADDRESS, where there is this file: the authority to know it by (PEM). "
        "Else those that the system trusts.",
    )
    slurm_partition: str = setting(
        Word(), "", "With LAUNCHER slurm: partition for all jobs. Empty: the cluster's default."
    )
    slurm_account: str = setting(
        Word(), "", "With LAUNCHER slurm: account that jobs are put to. Empty: the default one."
    )
    slurm_gres: str = setting(
        Word(),
        "gpu",
        "With LAUNCHER slurm: what the cards are called there (GRES), such as gpu or gpu:ascend. "
        "Empty: jobs ask for none.",
    )
    slurm_options: tuple[str, ...] = setting(
        Options(),
        (),
        "With LAUNCHER slurm: more options of sbatch for each job, such as --cpus-per-task=8 "
        "--mem=64G --time=7-0.",
    )
