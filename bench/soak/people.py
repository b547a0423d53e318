"""People who live a week at a pace: start, wait in line, work, leave; each with an open page."""

from __future__ import annotations

import contextlib
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus

import requests
import websocket

from bench.soak.ledger import Carried, Ledger
from bench.week import HOUR, Wish
from tests.support.chaos import Json, row_of
from tests.support.client import USER_PASSWORD, Client, Workspace
from tests.support.open_page import OpenPage

FIRST_HOUR = 6 * HOUR
"""The life begins on Monday at six: nobody comes at night."""

LOOK_S = 1.0
"""Between two looks at one's own state, while one wants something."""

Ended = (requests.RequestException, OSError, websocket.WebSocketException, ValueError)
"""What a person sees of a part that was killed."""


def job(prefix: str, seconds: float) -> Json:
    """Make a prompt that takes so long and leaves one picture."""
    size: Json = {"width": 8, "height": 8, "batch_size": 1, "color": 1, "seconds": seconds}
    image = {"class_type": "EmptyImage", "inputs": size}
    wanted = {"images": ["1", 0], "filename_prefix": prefix, "seconds": 0.0}
    save = {"class_type": "SaveImage", "inputs": wanted}
    return {"1": image, "2": save}


class Person(threading.Thread):
    """One person and all that he wishes."""

    def __init__(
        self, client: Client, name: str, wishes: Sequence[Wish], ledger: Ledger, pace: float
    ) -> None:
        """Bind; ``pace`` is how many seconds of life pass in one."""
        super().__init__(name=name, daemon=True)
        self._client = client
        self._wishes = wishes
        self._ledger = ledger
        self._pace = pace
        self._chance = random.Random(name)
        self._page = Page(lambda: self._client)
        self.rest = threading.Event()
        self.did: Counter[str] = Counter()

    def run(self) -> None:
        """Live until told to rest or all wishes are over."""
        begun = time.monotonic()
        self._page.start()
        for wish in self._wishes:
            due = begun + (wish.at - FIRST_HOUR) / self._pace
            if self.rest.wait(max(0.0, due - time.monotonic())):
                break
            self.did["wishes"] += 1
            self._have(wish)
        self.rest.wait()
        self._page.rest.set()

    def _have(self, wish: Wish) -> None:
        """Want a card until there was one, or for as long as patience lasts."""
        tired_at = time.monotonic() + wish.patience / self._pace
        attempt, noticed_at = 0, None
        self._press("POST", "/api/user/start") or self._press("POST", "/api/user/line")
        while not self.rest.wait(LOOK_S * self._chance.uniform(0.5, 1.5)):
            state = self._ask("GET", "/api/user/state")
            phase, line = (state or {}).get("phase"), (state or {}).get("line") or {}
            if phase == "running":
                self._work(state["instance"], wish)  # type: ignore[index]
                return
            if time.monotonic() > tired_at:
                self._press("DELETE", "/api/user/line")
                self.did["lost patience"] += 1
                return
            if phase == "turn":
                noticed_at = noticed_at or time.monotonic() + wish.notices(attempt) / self._pace
                if time.monotonic() >= noticed_at:
                    self._press("POST", "/api/user/start")
            elif line.get("missed_at") is not None:
                again, noticed_at, attempt = wish.comes_back(attempt), None, attempt + 1
                if again is None or self.rest.wait(again / self._pace):
                    return
                self._press("POST", "/api/user/line")
            elif phase in {"idle", "failed", "no_port"}:
                self._press("POST", "/api/user/start") or self._press("POST", "/api/user/line")

    def _work(self, instance: Json, wish: Wish) -> None:
        """Send work until the wish is over or the session is."""
        until = time.monotonic() + wish.work / self._pace
        launch_id = str(row_of(self._client.manager, instance["port"])["launch_id"])
        self.did["sessions"] += 1
        with contextlib.ExitStack() as stack:
            way = self._enter(instance["workspace_url"], stack)
            while way is not None and time.monotonic() < until and not self.rest.is_set():
                state = self._ask("GET", "/api/user/state")
                if state is not None and state["phase"] != "running":
                    break
                if state is not None and (state["kept"] or {}).get("state") == "offered":
                    self._send_kept(launch_id)
                for _ in range(self._chance.choice((1, 1, 2, 3))):
                    self._prompt(way, launch_id)
                self.rest.wait(self._chance.uniform(0.5, 3.0))
        if not wish.left_idle:
            self._press("POST", "/api/user/stop")
        self._until_over()

    def _send_kept(self, launch_id: str) -> None:
        now = time.monotonic()
        if self._press("POST", "/api/user/kept-prompts/send"):
            self._ledger.resent.append(Carried(now, launch_id, self.name))
            self.did["kept sent"] += 1

    def _enter(self, url: str, stack: contextlib.ExitStack) -> Workspace | None:
        """Go through the gate and open the page's websocket; a killed Caddy is back in seconds."""
        for _ in range(10):
            with contextlib.suppress(*Ended):
                way = Workspace(url)
                stack.callback(way.close)
                stack.callback(way.socket(self.name).close)
                return way
            self.did["gate not there"] += 1
            if self.rest.wait(1.0):
                break
        return None

    def _prompt(self, way: Workspace, launch_id: str) -> None:
        prefix, now = self._ledger.prefix(), time.monotonic()
        prompt = job(prefix, self._chance.uniform(0.1, 1.5))
        try:
            answer = way.post("/prompt", {"prompt": prompt})
        except Ended:
            self.did["prompt not answered"] += 1
            return
        if answer.ok:
            self._ledger.accepted.append(Carried(now, launch_id, self.name, prefix))
            self.did["prompts"] += 1

    def _until_over(self) -> None:
        """Wait for the end of the session; who rests leaves it to the idle limit."""
        while not self.rest.wait(LOOK_S):
            state = self._ask("GET", "/api/user/state")
            if state is not None and state["instance"] is None:
                return

    def _press(self, method: str, path: str) -> bool:
        return self._ask(method, path) is not None

    def _ask(self, method: str, path: str) -> Json | None:
        """Ask the manager; None when it refuses or is not there."""
        try:
            answer = self._client.ask(method, path)
            if answer.status_code == HTTPStatus.UNAUTHORIZED:
                self._client.close()
                self._client = Client(self._client.manager, self.name, USER_PASSWORD)
                self.did["logins"] += 1
                answer = self._client.ask(method, path)
            return dict(answer.json()) if answer.ok else None
        except (*Ended, AssertionError):
            self.did["not answered"] += 1
            return None


class Page(threading.Thread):
    """A person's page: open all the time, and opened again as the browser does."""

    def __init__(self, client: Callable[[], Client]) -> None:
        """Bind; ``client`` gives the login of now."""
        super().__init__(daemon=True)
        self._client = client
        self.rest = threading.Event()
        self.heard = 0

    def run(self) -> None:
        """Listen; come back a moment after the connection is gone."""
        while not self.rest.is_set():
            with contextlib.suppress(*Ended, AssertionError), OpenPage(self._client()) as page:
                for _ in page.heard():
                    self.heard += 1
                    if self.rest.is_set():
                        return
            self.rest.wait(random.uniform(1, 3))


def wishes_of(wishes: Sequence[Wish], user: int, life_s: float) -> list[Wish]:
    """Give a user's wishes of the time that is lived."""
    until = min(math.inf, FIRST_HOUR + life_s)
    return [one for one in wishes if one.user == user and FIRST_HOUR <= one.at < until]


def at_rest(people: Sequence[Person], timeout_s: float) -> list[str]:
    """Have all people rest; name those that cannot."""
    for one in people:
        one.rest.set()
    until = time.monotonic() + timeout_s
    for one in people:
        one.join(max(0.0, until - time.monotonic()))
    return [one.name for one in people if one.is_alive()]
