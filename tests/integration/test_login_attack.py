"""Guessing passwords at the real server: what the log says of it, and who still gets in.

``LOGIN_GUESSES`` is how many guesses are made; 10,000, from 200 addresses, take some minutes.
"""

from __future__ import annotations

import configparser
import http.client
import os
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.client import Client
from tests.support.server import LOOPBACK, ROOT, ManagerProcess

pytestmark = pytest.mark.integration

GUESSES = int(os.environ.get("LOGIN_GUESSES", "60"))
ADDRESSES = min(200, GUESSES // 2)
AT_ONCE = 32
IN = 302
FILTER = ROOT / "deploy" / "fail2ban" / "filter.d" / "comfyui-manager.conf"


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    with ManagerProcess(tmp_path_factory.mktemp("guesses")) as running:
        yield running


def found_by_the_filter(path: Path) -> list[str]:
    """Give the addresses that fail2ban would find in a log: its date is taken out first."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(FILTER, encoding="utf-8")
    rule = parser["Definition"]["failregex"].replace("<HOST>", r"(?P<host>[0-9a-f.:]+)")
    date = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+")
    lines = path.read_text(encoding="utf-8").splitlines()
    matches = [re.search(rule, date.sub("", line)) for line in lines if date.match(line)]
    return [match["host"] for match in matches if match]


def test_the_fail2ban_filter_reads_the_real_log(manager: ManagerProcess) -> None:
    forger = (
        "x\n2026-11-28 00:00:00,000 WARNING manager.doorkeeper: login refused from 9.9.9.9 (wrong)"
    )
    names = ["admin", "nobody", "from 9.9.9.9 (wrong)", forger]
    for name in names:
        Client(manager, name, "a wrong password", refused=True)
    assert found_by_the_filter(manager.log_path) == [LOOPBACK] * len(names)
    Client(manager, "admin", "admin123")
    assert found_by_the_filter(manager.log_path) == [LOOPBACK] * len(names), "who gets in is let be"
    for _ in range(7):
        Client(manager, "admin", "a wrong password", refused=True)
    assert len(found_by_the_filter(manager.log_path)) == len(names) + 7
    text = manager.log_path.read_text(encoding="utf-8")
    assert "(too often)" in text
    assert "9.9.9.9" not in text


class Guesser:
    """Somebody at an address of his own, who has opened the login page."""

    def __init__(self, manager: ManagerProcess, address: str) -> None:
        self.manager = manager
        self.address = address
        page, cookies = self._ask("GET", {}, "")
        found = re.search(rb'name="csrf-token" content="([^"]+)"', page)
        assert found
        self.token = found[1].decode()
        self.cookie = cookies.partition(";")[0]

    def guess(self, name: str, password: str) -> int:
        form = {"username": name, "password": password, "csrf_token": self.token}
        headers = {
            "Cookie": self.cookie,
            "Origin": self.manager.url,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self._ask("POST", headers, urlencode(form))
        return self.status

    def _ask(self, method: str, headers: dict[str, str], body: str) -> tuple[bytes, str]:
        connection = http.client.HTTPConnection(
            LOOPBACK, self.manager.port, timeout=60, source_address=(self.address, 0)
        )
        try:
            connection.request(method, "/login", body, headers)
            answer = connection.getresponse()
            self.status = answer.status
            return answer.read(), answer.headers.get("Set-Cookie", "")
        finally:
            connection.close()


# Half of the guesses are at names of their own: each of them is hashed.
@pytest.mark.timeout(180 + GUESSES // 4)
def test_guesses_from_everywhere_get_nobody_in_and_keep_nobody_out(
    manager: ManagerProcess,
) -> None:
    owner = Guesser(manager, "127.0.2.1")
    assert owner.guess("admin", "admin123") == IN, "once before the attack"
    everywhere = [Guesser(manager, f"127.0.1.{number + 1}") for number in range(ADDRESSES)]

    def attack(number: int) -> int:
        name = "admin" if number % 2 else f"name{number}"
        return everywhere[number % ADDRESSES].guess(name, f"guess {number}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        statuses = list(pool.map(attack, range(GUESSES // 2)))
        rest = pool.map(attack, range(GUESSES // 2, GUESSES))
        waits = []
        for _ in range(3):
            begun = time.monotonic()
            assert Guesser(manager, "127.0.2.1").guess("admin", "admin123") == IN
            waits.append(time.monotonic() - begun)
        statuses += list(rest)
    assert set(statuses) <= {401, 429}
    sys.stdout.write(f"{GUESSES} guesses; the owner meanwhile: {max(waits):.2f} s at most\n")
