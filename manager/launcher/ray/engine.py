"""Ray as an engine: jobs by the Jobs REST API of the head, nodes by its state API.

``look`` asks once for all jobs. Ray ends a job that has found no place for 15 minutes
(``RAY_JOB_START_TIMEOUT_SECONDS`` of the head): such a one is handed in again, under its name, for
here a queue has no end; a job that was cancelled is not.
"""

from __future__ import annotations

import logging
import ssl
import stat
import threading
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from manager.errors import EngineSilent, LaunchFailed, SettingsError
from manager.launcher.engine import EngineFacts, Job, JobReport, JobState
from manager.launcher.ray import words
from manager.launcher.ray.questions import Answer, Questions, Silent, TurnedAway, said

logger = logging.getLogger(__name__)

STOP_WAIT_S = 60
"""How long Ray waits for a job that it has asked to end before it kills what it finds of it."""

MOST_LOG = 256 << 20
"""Bytes of a job's output that are read to find its end, which is all that is kept of it."""

TAKEN = b"already exists"
REFUSED = b"status code 400:"
"""The head says 500 and quotes its agent, which has refused the job before it noted it."""

MOST_NODES = 10_000
"""As many as the state API gives at most."""


class RayEngine:
    """Implements ``engine.Engine``. ``problem`` says why the last question had no answer."""

    def __init__(
        self,
        address: str,
        mark: str,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        stop_wait_s: int = STOP_WAIT_S,
    ) -> None:
        """Say where Ray's head is asked, and by which mark this manager knows its own jobs.

        A file that there is not is none: no token is shown, and the system's authorities count.

        Raises:
            SettingsError: a file is there but cannot be used.
        """
        self.problem = ""
        self._mark = mark
        self._stop_wait_s = stop_wait_s
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()
        token = read_token(token_file) if token_file else None
        try:
            authority = ca_file if ca_file and ca_file.is_file() else None
            self._questions = Questions(address, token, authority)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"RAY_CA_FILE = {ca_file} holds no certificates: {error}") from None

    def submit(self, job: Job) -> None:
        """Hand a job in; Ray itself refuses a second one of the same name."""
        body = words.submission(job, self._mark, self._stop_wait_s)
        if len(str(body["entrypoint"]).encode()) > words.MOST_WORDS:
            raise LaunchFailed("its command line and environment are too long for Ray")
        try:
            answer = self._hand_in(body)
        except TurnedAway as error:
            self._note(str(error))
            raise LaunchFailed(str(error)) from None
        except Silent as error:
            self._note(str(error))
            raise EngineSilent(f"Ray did not say whether it took the job: {error}") from None
        if _taken(answer, job.name):
            return
        why = f"Ray answered with {answer.status}: {said(answer.body)}"
        if answer.status == HTTPStatus.BAD_REQUEST or REFUSED in answer.body:
            raise LaunchFailed(why)
        raise EngineSilent(why)

    def look(self) -> Mapping[str, JobReport] | None:
        """Say how all jobs of this manager are; None when Ray does not say."""
        try:
            listing = self._questions.ask("/api/jobs/").json()
        except Silent as error:
            self._note(str(error))
            return None
        found = words.ours(listing, self._mark)
        if found is None:
            self._note("its answer is no list of jobs")
            return None
        self._note("")
        with self._lock:
            self._cancelled &= found.keys()
        return {name: self._report(name, entry) for name, entry in found.items()}

    def cancel(self, name: str, *, force: bool) -> None:
        """Ask Ray to end a job: SIGTERM to all that it finds of it, SIGKILL when its wait is over.

        Ray has no other way, so ``force`` changes nothing.
        """
        del force
        with self._lock:
            self._cancelled.add(name)
        self._order(f"/api/jobs/{quote(name, safe='')}/stop", "POST")

    def logs(self, name: str, max_bytes: int) -> str:
        """Give the end of a job's output, of which Ray gives only the whole."""
        end, most = bytearray(), 6 * max_bytes + 64

        def take(piece: bytes) -> None:
            end.extend(piece)
            if len(end) > 2 * most:
                del end[:-most]

        path = f"/api/jobs/{quote(name, safe='')}/logs"
        try:
            status = self._questions.stream(path, take, most=MOST_LOG)
        except Silent:
            return ""
        return words.tail_of_logs(bytes(end), max_bytes) if status == HTTPStatus.OK else ""

    def forget(self, name: str) -> None:
        """Have Ray forget a job that has ended; it refuses to forget another one."""
        self._order(f"/api/jobs/{quote(name, safe='')}", "DELETE")

    def probe(self) -> EngineFacts | None:
        """Say what Ray is and which machines it has; None: it does not answer."""
        try:
            version = self._questions.ask("/api/version").json()
            states = self._questions.ask(f"/api/v0/nodes?detail=1&limit={MOST_NODES}").json()
            nodes = words.nodes(states, self._status())
            guarded = self._guarded()
        except Silent as error:
            self._note(str(error))
            return None
        named = version.get("ray_version") if isinstance(version, dict) else None
        if not isinstance(named, str) or nodes is None:
            self._note("its answer is none of Ray's")
            return None
        self._note("")
        return EngineFacts("ray", words.line(named), guarded, nodes)

    def _report(self, name: str, entry: Mapping[str, Any]) -> JobReport:
        with self._lock:
            wanted = name not in self._cancelled
        body = words.again(entry) if wanted and words.gave_up(entry) else None
        if body is not None and self._handed_in_again(body, name):
            return JobReport(JobState.QUEUED, why="no machine has a free place for it yet")
        return words.report(entry)

    def _handed_in_again(self, body: Mapping[str, object], name: str) -> bool:
        """Begin a job's wait anew. Should it fail halfway the job is absent, which proves nothing.

        Of one that had begun after all, its claim on the shared storage keeps the second away.
        """
        logger.info("Ray gave up on %s, which waits for a card: handing it in again", name)
        self.forget(name)
        try:
            answer = self._hand_in(body)
        except Silent as error:
            logger.warning("Ray does not take %s again: %s", name, error)
            return False
        return _taken(answer, name)

    def _hand_in(self, body: Mapping[str, object]) -> Answer:
        return self._questions.ask("/api/jobs/", method="POST", content=body)

    def _order(self, path: str, method: str) -> None:
        try:
            answer = self._questions.ask(path, method=method)
        except Silent as error:
            self._note(str(error))
            return
        if answer.status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
            logger.info("Ray refuses %s %s: %s", method, path, said(answer.body))

    def _status(self) -> object:
        """Ask what is in use, which an autoscaler notes; not every cluster has one."""
        try:
            return self._questions.ask("/api/cluster_status").json()
        except Silent:
            return None

    def _guarded(self) -> bool:
        """Tell whether somebody without a token is turned away."""
        try:
            self._questions.ask("/api/jobs/", token=False)
        except TurnedAway:
            return True
        return False

    def _note(self, problem: str) -> None:
        """Keep and log a problem, once."""
        if problem and problem != self.problem:
            logger.warning("Ray does not answer as it should: %s", problem)
        elif self.problem and not problem:
            logger.info("Ray answers again")
        self.problem = problem


def _taken(answer: Answer, name: str) -> bool:
    """Tell whether Ray says that it has the job, or, with 500 and a traceback, had it before."""
    if answer.status != HTTPStatus.OK:
        return TAKEN in answer.body and name.encode() in answer.body
    try:
        said_so = answer.json()
    except Silent:
        return False
    return isinstance(said_so, dict) and said_so.get("submission_id") == name


def read_token(path: Path) -> str | None:
    """Read the token of the cluster; None where there is no such file.

    Raises:
        SettingsError: other accounts can read it, or it holds no token.
    """
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise _refused(path, f"other accounts can read it: chmod 600 {path}")
            text = file.read(4097).decode("ascii").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable() or " " in text or len(text) > 4096:
        raise _refused(path, "it has to hold one word: the token")
    return text


def _refused(path: Path, why: str) -> SettingsError:
    return SettingsError(f"RAY_TOKEN_FILE = {path}: {why}")
