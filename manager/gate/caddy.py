"""Caddy's own process: begin it, recognise it again, end it.

Owns ``data/caddy``: admin socket, record of the process, log, and what Caddy stores for itself.
Never two at a time: Caddy listens with SO_REUSEPORT, so a second one of the same user starts
without an error and takes every other connection, with the tokens of yesterday. Hence the lock, the
record and the question to the socket before anything is begun.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from manager import identity
from manager.errors import AlreadyServing, GateFailed
from manager.gate import admin, record
from manager.gate.admin import Door
from manager.gate.caddyfile import with_secret
from manager.gate.program import ask_version, explain, find_program, last_error
from manager.identity import Identity
from manager.settings import Settings

START_S = 20.0
END_S = 3.0
"""Caddy waits without limit for running downloads when it is asked to end politely."""

POLL_S = 0.02
LOG_MAX_BYTES = 4 << 20
LOG_TAIL_BYTES = 8192
SOCKET_PATH_MAX = 100
"""Bytes; the kernel's own limit for the path of a unix socket is 107 (unix(7))."""


class CaddyProcess:
    """The one Caddy of this data directory."""

    def __init__(self, settings: Settings) -> None:
        """Keep the paths; touches nothing yet."""
        self._caddy_path = settings.caddy_path
        self._config = settings.caddyfile
        self.home = settings.data_dir / "caddy"
        self.socket = self.home / "admin.sock"
        self.door = Door(self.socket, "")
        self.log = self.home / "caddy.log"
        self.version = ""
        self._record = self.home / "caddy.json"
        self._program: Path | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._who: Identity | None = None
        self.secret = ""
        self._lock: int | None = None

    @property
    def pid(self) -> int | None:
        """Give the pid of the Caddy begun or adopted last."""
        return self._who.pid if self._who else None

    def running(self) -> bool:
        """Tell whether it lives; cheap enough for every second."""
        if self._child is not None:
            self._child.poll()  # reaps it
        return self._who is not None and identity.alive(self._who)

    def stopped(self) -> bool:
        """Tell whether it lives but was stopped (SIGSTOP); cheap."""
        return self._state() in {"T", "t"}

    def serves(self) -> bool:
        """Tell whether it lives and was not stopped, by one look."""
        return self._state() not in {"", "T", "t"}

    def _state(self) -> str:
        """Give the letter of its state, proc_pid_stat(5); empty when it does not live."""
        found = identity.read_state(self._who.pid) if self._who is not None else None
        return found[1] if found and found[0] == self._who else ""

    def dies_within(self, wait_s: float) -> bool:
        """Wait until it is gone, at most ``wait_s``, and tell whether it is."""
        deadline = time.monotonic() + wait_s
        while self.running() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return not self.running()

    def hold(self) -> None:
        """Make the directory and the admin secret, and take the lock.

        Raises:
            AlreadyServing: another manager holds the directory.
            GateFailed: the directory cannot be made.
        """
        if self._lock is not None:
            return
        try:
            # One at a time: ``parents=True`` gives the parents the common mode, not this one.
            self.home.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.home.mkdir(exist_ok=True, mode=0o700)
            self.home.chmod(0o700)
            self._lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise GateFailed(f"{self.home} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.release()
            raise AlreadyServing(f"another manager uses {self.home}") from None
        self._know_secret()

    def _know_secret(self) -> None:
        try:
            self.secret = admin.read_secret(self.home / "admin_key")
        except OSError as error:
            self.release()
            raise GateFailed(f"{error.filename} cannot be used: {error.strerror}") from error
        self.door = Door(self.socket, self.secret)

    def check_program(self) -> None:
        """Find the program and check its version, once.

        Raises:
            GateFailed: there is no usable Caddy; says what to do.
        """
        if self._program is None:
            program = find_program(self._caddy_path)
            self.version = ask_version(program)
            self._program = program

    def release(self) -> None:
        """Give the lock back; Caddy itself goes on."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def adopt(self) -> bool:
        """Take over the Caddy of an earlier manager if it still answers; end one that does not.

        One that does not know the secret, because its file was lost, cannot be taken over.
        """
        found = self._at_socket()
        self._who = found if self._find_door() else None
        for other in (record.read(self._record), found):
            if other and other != self._who and self._is_caddy(other):
                self._end(other)
        if self._who is None:
            return False
        record.write(self._record, self._who)
        return True

    def begin(self) -> None:
        """Start Caddy with the Caddyfile as it stands and wait until it serves.

        Raises:
            GateFailed: it ended at once or does not answer; holds what it printed.
        """
        before = self.log.stat().st_size if self.log.exists() else 0
        self._reap()
        self._child = self._spawn()
        self._who = identity.read(self._child.pid)
        if self._who is not None:
            record.write(self._record, self._who)
        deadline = time.monotonic() + START_S
        while not admin.answers(self.door):
            if self._child.poll() is not None:
                self._who = None
                raise admin.LoadRefused(f"Caddy does not start: {self._why(before)}")
            if time.monotonic() > deadline:
                self.end()
                raise GateFailed(f"Caddy does not answer at {self.socket} within {START_S:g} s")
            time.sleep(POLL_S)

    def load(self, text: str) -> None:
        """Put a Caddyfile into force.

        Raises:
            LoadRefused: Caddy does not accept it and goes on with what it had.
            NoAnswer: whether it is in force is not known.
        """
        try:
            admin.load(self.door, with_secret(text, self.secret))
        finally:
            if not self.door.secret:
                self._find_door()

    def _find_door(self) -> bool:
        found = admin.find_door(self.socket, self.secret)
        self.door = found or Door(self.socket, self.secret)
        return found is not None

    def end(self) -> None:
        """End it and wait until it is gone."""
        if self._who is not None:
            self._end(self._who)
        self._who = None
        self._reap()
        with contextlib.suppress(OSError):
            self._record.unlink()

    def _reap(self) -> None:
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(END_S)
        self._child = None

    def trim_log(self) -> None:
        """Keep the log small: move it aside once it is ``LOG_MAX_BYTES`` long. May be offloaded."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > LOG_MAX_BYTES:
                # Caddy keeps writing to the file it was given, and appends: emptying it is safe.
                older = self.log.with_name("caddy.log.1")
                older.unlink(missing_ok=True)
                older.touch(mode=0o600)
                shutil.copyfile(self.log, older)
                os.truncate(self.log, 0)

    def _spawn(self) -> subprocess.Popen[bytes]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        words = [str(self._program), "run", "--config", str(self._config)]
        try:
            output = os.open(self.log, flags, 0o600)
            try:
                return subprocess.Popen(
                    [*words, "--adapter", "caddyfile"],
                    cwd=self._config.parent,
                    env={**os.environ, **self.environment()},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            finally:
                os.close(output)
        except OSError as error:
            raise GateFailed(f"Caddy cannot be started: {error}") from error

    def environment(self) -> dict[str, str]:
        """Give the variables Caddy needs beyond the manager's own.

        Raises:
            GateFailed: the admin socket's path is too long for the kernel.
        """
        relative = os.path.relpath(self.socket, self._config.parent)
        path = min(relative, str(self.socket), key=lambda text: len(text.encode()))
        if len(path.encode()) > SOCKET_PATH_MAX:
            raise GateFailed(
                f"DATA_DIR is too long a path: {path} has more than {SOCKET_PATH_MAX} bytes, "
                "the limit for a unix socket"
            )
        return {
            "CADDY_ADMIN_SOCKET": path,
            "CADDY_ADMIN_SECRET": self.secret,
            "XDG_DATA_HOME": str(self.home / "share"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
        }

    def _end(self, who: Identity) -> None:
        for number, wait_s in ((signal.SIGTERM, END_S), (signal.SIGKILL, END_S)):
            if not identity.send(who, number):
                return
            deadline = time.monotonic() + wait_s
            while identity.alive(who) and time.monotonic() < deadline:
                time.sleep(POLL_S)

    def _at_socket(self) -> Identity | None:
        pid = admin.listener(self.socket)
        who = identity.read(pid) if pid else None
        return who if who and self._is_caddy(who) else None

    def _is_caddy(self, who: Identity) -> bool:
        """Check the program too: a record may have been copied from elsewhere."""
        if not identity.alive(who):
            return False
        try:
            program = Path(f"/proc/{who.pid}/exe").readlink().name
        except OSError:
            return False
        return program.removesuffix(" (deleted)").startswith(self._names())

    def _names(self) -> tuple[str, ...]:
        return ("caddy", self._program.resolve().name) if self._program else ("caddy",)

    def _why(self, start: int) -> str:
        """Say why Caddy ended: what it printed since byte ``start``, else what ``adapt`` says.

        ``caddy run`` prints nothing about a Caddyfile that it cannot read.
        """
        try:
            with self.log.open("rb") as file:
                file.seek(max(start, self.log.stat().st_size - LOG_TAIL_BYTES))
                printed = file.read()
        except OSError:
            printed = b""
        return last_error(printed) or explain(self._program, self._config, self.environment())
