"""Which extra ComfyUI flags an operator may not give, and why. Pure.

ComfyUI's parser accepts any unambiguous beginning of a flag (argparse's ``allow_abbrev``), so
``--lis`` is ``--listen`` and must be refused too.
"""

from __future__ import annotations

from collections.abc import Iterable

FORBIDDEN = {
    "--listen": "instances listen on 127.0.0.1 only, the gate is the way in",
    "--port": "the port table gives each instance its port",
    "--base-directory": "each user has directories of his own",
    "--input-directory": "each user has directories of his own",
    "--output-directory": "each user has directories of his own",
    "--temp-directory": "each user has directories of his own",
    "--user-directory": "each user has directories of his own",
    "--database-url": "each user has a database of his own",
    "--multi-user": "its profiles are chosen by a header that anybody can send",
    "--enable-cors-header": "it replaces ComfyUI's own check of the Origin",
    "--cuda-device": "it overwrites the variable that gives the instance its card",
    "--tls-keyfile": "the gate speaks HTTP to instances",
    "--tls-certfile": "the gate speaks HTTP to instances",
}


def forbidden_flags(args: Iterable[str]) -> list[str]:
    """List the words of ``args`` that would undo the separation of users, as they were written."""
    return [word for word in args if _meant(word)]


def explain(word: str) -> str:
    """Say which flag a refused word means and why it is refused."""
    flag = _meant(word)[0]
    return f"{word} ({flag}): {FORBIDDEN[flag]}"


def _meant(word: str) -> list[str]:
    name = word.partition("=")[0]
    if not name.startswith("--") or name == "--":
        return []
    return [flag for flag in FORBIDDEN if flag.startswith(name)]
