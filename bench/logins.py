"""Many logins at once: how many a second, and whether the rest of the program keeps its beat.

    venv/bin/python -m bench.logins [--people N]

Each person has an account and an address of his own (of loopback) and has never logged in from it;
all send their password in the same moment. The limit is what two bare threads hash, measured right
after. Meanwhile ``/healthz`` is asked again and again: the longest
time without an answer is the longest time that the one loop of the program stood still.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

from werkzeug.security import generate_password_hash

from manager.runtime import HEAVY_AT_ONCE
from tests.support.client import first_admin
from tests.support.server import LOOPBACK, ManagerProcess

PASSWORD = "given by the admin"


def ask(
    manager: ManagerProcess, address: str, method: str, body: str, cookie: str
) -> tuple[int, str]:
    """Send one request to the login page and give the status, and the cookie and form token."""
    headers = {"Origin": manager.url, "Cookie": cookie}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection = HTTPConnection(LOOPBACK, manager.port, timeout=120, source_address=(address, 0))
    try:
        connection.request(method, "/login", body, headers)
        answer = connection.getresponse()
        page = answer.read().decode()
        found = re.search(r'name="csrf-token" content="([^"]+)"', page)
        token = found[1] if found else ""
        return answer.status, f"{answer.headers.get('Set-Cookie', '').partition(';')[0]}\n{token}"
    finally:
        connection.close()


def log_in(manager: ManagerProcess, number: int, ready: threading.Barrier) -> tuple[int, float]:
    """Open the page, wait for all others, log in; give the status and the seconds it took."""
    address = f"127.0.3.{number + 1}"
    cookie, _, token = ask(manager, address, "GET", "", "")[1].partition("\n")
    form = {"username": f"person{number}", "password": PASSWORD, "csrf_token": token}
    ready.wait()
    begun = time.monotonic()
    status, _ = ask(manager, address, "POST", urlencode(form), cookie)
    return status, time.monotonic() - begun


def beat(manager: ManagerProcess, over: threading.Event) -> float:
    """Ask ``/healthz`` until it is over; give the longest time between two answers, in seconds."""
    longest, last = 0.0, time.monotonic()
    while not over.is_set():
        manager.health()
        now = time.monotonic()
        longest, last = max(longest, now - last), now
        over.wait(0.01)
    return longest


def bare(count: int) -> float:
    """Hash with two threads and nothing else; give hashes a second."""
    with ThreadPoolExecutor(HEAVY_AT_ONCE) as pool:
        begun = time.monotonic()
        list(pool.map(generate_password_hash, [PASSWORD] * count))
        return count / (time.monotonic() - begun)


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=30)
    people = parser.parse_args().people
    with (
        tempfile.TemporaryDirectory() as folder,
        ManagerProcess(Path(folder) / "manager", rows=1) as manager,
        ThreadPoolExecutor(people + 1) as pool,
    ):
        admin = first_admin(manager)
        for number in range(people):
            admin.post("/api/admin/users", {"username": f"person{number}", "password": PASSWORD})
        over, ready = threading.Event(), threading.Barrier(people + 1)
        logins = [pool.submit(log_in, manager, number, ready) for number in range(people)]
        gap = pool.submit(beat, manager, over)
        ready.wait()
        begun = time.monotonic()
        results = [login.result() for login in logins]
        took = time.monotonic() - begun
        over.set()
        came_in = sum(status == 302 for status, _ in results)
        print(f"{came_in} of {people} logged in, {people / took:.1f} a second")
        print(f"two bare threads hash {bare(people // 5):.1f} a second")
        print(f"slowest login {max(seconds for _, seconds in results):.2f} s")
        print(f"longest time without an answer of /healthz: {gap.result() * 1000:.0f} ms")


if __name__ == "__main__":
    main()
