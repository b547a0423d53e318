"""The command line: ComfyUI's own flags (``comfy/cli_args.py``), and switches for ways of failing.

An unknown flag ends in a usage text and exit code 2, as with the real one. Flags that steer models
and memory are accepted and change nothing.
"""

from __future__ import annotations

import argparse
import os

ON_OFF = [
    "--auto-launch",
    "--disable-auto-launch",
    "--cuda-malloc",
    "--disable-cuda-malloc",
    "--force-fp32",
    "--force-fp16",
    "--fp32-unet",
    "--fp16-unet",
    "--bf16-unet",
    "--fp16-vae",
    "--fp32-vae",
    "--bf16-vae",
    "--cpu-vae",
    "--force-channels-last",
    "--disable-ipex-optimize",
    "--cache-classic",
    "--cache-none",
    "--use-split-cross-attention",
    "--use-quad-cross-attention",
    "--use-pytorch-cross-attention",
    "--use-sage-attention",
    "--use-flash-attention",
    "--disable-xformers",
    "--force-upcast-attention",
    "--dont-upcast-attention",
    "--disable-smart-memory",
    "--deterministic",
    "--dont-print-server",
    "--windows-standalone-build",
    "--disable-metadata",
    "--disable-all-custom-nodes",
    "--disable-api-nodes",
    "--disable-partner-nodes",
    "--offline",
    "--disable-assets",
    "--multi-user",
    "--log-stdout",
    "--enable-compress-response-body",
    "--enable-manager",
    "--mmap-torch-files",
    "--disable-mmap",
    "--force-non-blocking",
    "--disable-async-offload",
    "--quick-test-for-ci",
]
WITH_VALUE = [
    "--tls-keyfile",
    "--tls-certfile",
    "--cuda-device",
    "--default-device",
    "--oneapi-device-selector",
    "--preview-method",
    "--preview-size",
    "--cache-lru",
    "--reserve-vram",
    "--front-end-version",
    "--front-end-root",
    "--comfy-api-base",
    "--base-directory",
    "--models-directory",
    "--database-url",
]
MEMORY = ["--gpu-only", "--highvram", "--normalvram", "--lowvram", "--novram", "--cpu"]
LIES = ("garbage", "negative", "html", "500", "huge", "idle")


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line; ends the program with code 2 where it is wrong."""
    parser = argparse.ArgumentParser(prog="main.py", description="Demo: this is not ComfyUI.")
    _add_comfyui(parser)
    _add_faults(parser.add_argument_group("ways of failing, for tests"))
    return parser.parse_args(words)


def _add_comfyui(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", nargs="?", const="0.0.0.0", default="127.0.0.1")  # noqa: S104
    parser.add_argument("--port", type=int, default=8188)
    for name in ("input", "output", "temp"):
        parser.add_argument(f"--{name}-directory", default=None)
    parser.add_argument("--user-directory", type=_folder, default=None)
    parser.add_argument("--enable-cors-header", nargs="?", const="*", default=None)
    parser.add_argument("--max-upload-size", type=float, default=100, help="in MB")
    parser.add_argument("--extra-model-paths-config", nargs="+", action="append")
    parser.add_argument("--whitelist-custom-nodes", nargs="+", default=[])
    parser.add_argument("--verbose", nargs="*", default=[])
    parser.add_argument("--fast", nargs="*", default=None)
    parser.add_argument("--directml", "--async-offload", nargs="?", type=int, const=-1)
    for flag in ON_OFF:
        parser.add_argument(flag, action="store_true")
    for flag in WITH_VALUE:
        parser.add_argument(flag)
    memory = parser.add_mutually_exclusive_group()
    for flag in MEMORY:
        memory.add_argument(flag, action="store_true")


def _add_faults(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--demo-custom-node", metavar="FOLDER", help="a package to import at start")
    group.add_argument("--demo-zero-boot", action="store_true", help="no artificial boot time")
    group.add_argument("--demo-slow-start", type=float, metavar="S", help="boot takes S seconds")
    group.add_argument("--demo-never-answer", action="store_true", help="lives, never listens")
    group.add_argument("--demo-exit-at-start", type=int, metavar="CODE", help="traceback, exit")
    group.add_argument("--demo-crash-after", type=float, metavar="S", help="S seconds after ready")
    group.add_argument("--demo-ignore-sigterm", action="store_true", help="SIGINT too")
    group.add_argument("--demo-spawn-grandchildren", type=int, default=0, metavar="N")
    group.add_argument("--demo-flood", action="store_true", help="prints without end")
    group.add_argument(
        "--demo-hang-http",
        type=float,
        nargs="?",
        const=0.0,
        metavar="S",
        help="from S seconds after ready on: accepts connections, never answers",
    )
    group.add_argument("--demo-lie-queue", choices=LIES, help="what /queue and /prompt answer")


def _folder(path: str) -> str:
    # As in the real one: only that it exists is checked, before anything else starts.
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib would raise where it may not look
        raise argparse.ArgumentTypeError(f"{path} is not a valid directory.")
    return path
