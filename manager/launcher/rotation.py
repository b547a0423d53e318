"""Keeping an instance's log from filling the disk; runs in the supervisor, imports little."""

# ruff: noqa: PTH105, PTH108 - the supervisor does without pathlib

from __future__ import annotations

import os

LOOK_S = 1.0
HURRIED_LOOK_S = 0.05
COPY_STEP_BYTES = 1 << 20


class Log:
    """The child's output file, which must not grow for ever: copied to ``log.1``, then truncated.

    The child keeps writing to the same open file, so a rename would not help; O_APPEND makes its
    next line land at the start of the emptied file. One call of ``look`` does one bounded step.
    """

    def __init__(self, path: str, limit: int) -> None:
        """Open the file for reading beside the child's writing.

        Args:
            path: the log; ``path.1`` is the old copy.
            limit: size in bytes from which it is rotated.
        """
        self.path, self.limit = path, limit
        self.file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.copy = -1
        self.copied = 0
        self.from_byte = 0
        self.last_size = 0

    def look(self) -> float:
        """Rotate a step further where needed.

        Returns:
            Seconds until the next look: 0 while copying, little while the log grows fast.
        """
        try:
            if self.copy < 0:
                return self._check()
            return self._copy_step()
        except OSError:
            # The old copy is a comfort; the limit is not. A full disk is relieved by this.
            self._finish(keep=False)
            return LOOK_S

    def _check(self) -> float:
        size = os.fstat(self.file).st_size
        grown, self.last_size = size - self.last_size, size
        if size < self.limit:
            return HURRIED_LOOK_S if grown > self.limit // 8 else LOOK_S
        self.copied, self.from_byte = 0, size - self.limit
        self.copy = os.open(self.path + ".1.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        return 0

    def _copy_step(self) -> float:
        piece = os.pread(self.file, COPY_STEP_BYTES, self.from_byte + self.copied)
        written = os.write(self.copy, piece) if piece else 0
        self.copied += written
        if written and self.copied < self.limit:
            return 0
        self._finish(keep=True)
        return HURRIED_LOOK_S

    def _finish(self, *, keep: bool) -> None:
        if self.copy >= 0:
            os.close(self.copy)
            self.copy = -1
        try:
            if keep:
                os.replace(self.path + ".1.part", self.path + ".1")
            else:
                os.unlink(self.path + ".1.part")
        except OSError:
            pass
        os.ftruncate(self.file, 0)
        self.last_size = 0
