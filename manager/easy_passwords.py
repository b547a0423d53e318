"""Which passwords are among the first that are tried: common ones, and words of the house. Pure.

The list is that of the package ``zxcvbn``: 30,000 passwords by how often they stood in those that
were stolen and published, of which some 8,000 are long enough to be allowed here. Its file of lists
alone is read. The estimate that comes with it is not used: it takes seconds for a password that is
made for it, and everybody may send some.

Every look takes less than a millisecond, whatever is sent.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

LIST: Final = "zxcvbn"
FEW: Final = 6
"""Signs that add too little to a common word: a year, a birthday's end, some marks."""

REPEATED: Final = 4
"""Characters of a part that makes no password, however often it is repeated."""

PROGRAM: Final = ("comfyui", "comfy", "manager", "multiuser", "admin")
"""What comes to mind first to whoever sees the login page."""

_SHORTEST = 3
_DISGUISES = tuple(str.maketrans("@430!157$8", f"aaeoi{one}stsb") for one in "il")
_ENDS = re.compile(r"^[\W\d_]+|[\W\d_]+$")


def house_words(username: str, server: str = "") -> frozenset[str]:
    """Give what is guessed first here: the program, the machine, the account.

    ``server`` is the name by which visitors reach it, or its address.
    """
    named = (*PROGRAM, socket.gethostname(), server, username)
    parts = (part for name in named for part in (name, *re.split(r"[\W_]+", name)))
    # Digits alone are parts of an address, and no word.
    return frozenset(
        part.lower() for part in parts if len(part) >= _SHORTEST and not part.isdigit()
    )


def is_easy(password: str, words: Collection[str]) -> bool:
    """Tell whether a password is common, or made of ``words`` (lower case) and little besides."""
    return any(_is_common(form) or _is_of(form, words) for form in _forms(password.lower()))


def _forms(password: str) -> Iterator[str]:
    """Give a password as it is, and with signs read as the letters they stand for."""
    yield password
    for disguise in _DISGUISES:
        yield password.translate(disguise)
        # Here the digits at the end are digits.
        core = _core(password)
        yield password.replace(core, core.translate(disguise), 1)


def _core(password: str) -> str:
    return _ENDS.sub("", password)


def _is_common(password: str) -> bool:
    part = _repeated(password)
    if len(part) <= REPEATED or part in common():
        return True
    core = _core(part)
    if len(core) < _SHORTEST or core not in common():
        return False
    ends = [end for end in part.split(core, 1) if end]
    return sum(map(len, ends)) < FEW or all(end in common() for end in ends)


def _is_of(password: str, words: Collection[str]) -> bool:
    left = password
    for word in sorted(words, key=len, reverse=True):
        left = left.replace(word, "")
    return left != password and (len(left) < FEW or left in common())


def _repeated(password: str) -> str:
    """Give the shortest part that a password is a repetition of; itself if of none."""
    # A text is one of its own rotations only if it repeats itself.
    return password[: (password + password).find(password, 1)]


@functools.cache
def common() -> frozenset[str]:
    """Give the listed passwords, in lower case."""
    words: Collection[str] = _lists().FREQUENCY_LISTS["passwords"]
    return frozenset(words)


def _lists() -> ModuleType:
    """Read the package's file of lists and nothing else of it, which would take 13 MB for good.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    package = importlib.util.find_spec(LIST)
    if package is None or package.origin is None:
        raise ModuleNotFoundError(f"the package {LIST} is missing", name=LIST)
    file = Path(package.origin).with_name("frequency_lists.py")
    spec = importlib.util.spec_from_file_location("frequency_lists", file)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"{file} cannot be read", name=LIST)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
