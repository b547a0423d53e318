"""Many guesses at one account from many addresses, while its owner and others come and go.

``LOGIN_GUESSES`` says how many; by default few, as each costs time. ``--log-cli-level=INFO`` shows
what came of them.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from manager.throttle import PER_NAME
from tests.support.client import USER_PASSWORD, Client, first_admin, new_user
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.integration

logger = logging.getLogger(__name__)

GUESSES = int(os.environ.get("LOGIN_GUESSES", "400"))
ADDRESSES = 200
GUESSERS = 8
HONEST_LOGINS = 5


class From(HTTPAdapter):
    """Sends from one address of this machine; all of 127.0.0.0/8 is its own on Linux."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, source_address=(self._address, 0))


class Guesser:
    """One session of a visitor who only guesses, from many addresses in turn."""

    def __init__(self, manager: ManagerProcess, number: int) -> None:
        self._client = Client(manager, "nobody", "x", refused=True)
        self._url = f"{manager.url}/login"
        page = self._client.session.get(self._url, timeout=30).text
        self._form = {"csrf_token": page.split('name="csrf-token" content="')[1].split('"')[0]}
        self._number = number

    def guess(self, count: int) -> Counter[int]:
        """Guess so many times; count the answers by their status."""
        statuses: Counter[int] = Counter()
        for turn in range(count):
            place = (turn * GUESSERS + self._number) % ADDRESSES
            self._client.session.mount("http://", From(f"127.9.{place // 100}.{place % 100 + 1}"))
            form = {**self._form, "username": "owner", "password": f"guess {self._number} {turn}"}
            answer = self._client.session.post(self._url, data=form, timeout=60)
            statuses[answer.status_code] += 1
        self._client.close()
        return statuses


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    with ManagerProcess(tmp_path_factory.mktemp("guesses"), rows=1) as running:
        yield running


def test_no_guess_comes_through_and_nobody_is_kept_out(manager: ManagerProcess) -> None:
    with (
        first_admin(manager) as admin,
        new_user(admin, "owner"),
        new_user(admin, "other"),
        ThreadPoolExecutor(GUESSERS) as pool,
    ):
        begun = time.monotonic()
        guessers = [Guesser(manager, number) for number in range(GUESSERS)]
        running = [pool.submit(guesser.guess, GUESSES // GUESSERS) for guesser in guessers]
        took = [_log_in(manager, name) for name in ("owner", "other") * HONEST_LOGINS]
        statuses = sum((future.result() for future in running), Counter[int]())
        minutes = 1 + (time.monotonic() - begun) // 60
    refused = {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
    assert set(statuses) <= refused, "none is through"
    assert statuses.total() == GUESSES
    # What is looked at at all is bounded for the name, however many addresses there are.
    assert statuses[HTTPStatus.UNAUTHORIZED] <= PER_NAME.amount * (minutes + 1)
    logger.info("%d guesses: %s; honest logins took %s s", GUESSES, dict(statuses), took)


def _log_in(manager: ManagerProcess, name: str) -> float:
    begun = time.monotonic()
    Client(manager, name, USER_PASSWORD).close()
    return round(time.monotonic() - begun, 2)
