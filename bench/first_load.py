"""How soon a page is usable at a first visit, against a bare server that has the same answers.

    venv/bin/python -m bench.first_load [--rounds 9]

A browser without a cache opens each page of the real program, and then the same page of *bare*: a
server that has kept the program's answers and gives them out again, knows nobody and has no live
connection. Both take turns. Milliseconds from the beginning of the navigation: until the document's
first byte, until something is painted, which is when its scripts have run and its buttons work, and
until all is loaded; medians, with the ratio of the painted ones.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, Response, sync_playwright

from tests.support.browser import FIRST_PASSWORD, Person, chromium
from tests.support.server import LOOPBACK, ManagerProcess

PAGES = {"/login": False, "/": True, "/admin": True, "/wall": True}
"""Whether one is logged in there."""

OWN = "a password of my own"
HEADERS = ("content-type", "cache-control")

TIMES = """async () => {
  const painted = await new Promise((seen) => {
    new PerformanceObserver((list) => {
      const [first] = list.getEntriesByName("first-contentful-paint");
      if (first) seen(first.startTime);
    }).observe({ type: "paint", buffered: true });
  });
  const [page] = performance.getEntriesByType("navigation");
  return [page.responseStart, painted, page.loadEventEnd];
}"""

Kept = dict[str, tuple[dict[str, str], bytes]]


@contextmanager
def bare(kept: Kept) -> Iterator[str]:
    """Give out what was kept, and only that."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers, body = kept.get(self.path, ({}, b""))
            self.send_response(200 if headers else 404)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()


def visit(browser: Browser, url: str, state: object, kept: Kept | None = None) -> list[float]:
    """Open a page as a newcomer and give its three times; ``kept`` takes what it fetched."""
    context = browser.new_context(storage_state=state)  # type: ignore[arg-type]
    try:
        page = context.new_page()
        answers: list[Response] = []
        if kept is not None:
            page.on("response", lambda answer: answers.append(answer))
        page.goto(url, wait_until="load")
        for answer in answers:
            path = answer.url.partition("://")[2].partition("/")[2]
            if kept is not None and not path.startswith("socket.io"):
                headers = {n: v for n, v in answer.all_headers().items() if n in HEADERS}
                kept[f"/{path}"] = (headers, answer.body())
        times: list[float] = page.evaluate(TIMES)
        return times
    finally:
        context.close()


def compare(browser: Browser, manager: ManagerProcess, path: str, state: object, n: int) -> None:
    """Take turns and print the medians."""
    kept: Kept = {}
    visit(browser, manager.url + path, state, kept)
    found: dict[str, list[list[float]]] = {"manager": [], "bare": []}
    with bare(kept) as url:
        visit(browser, url + path, None)
        for _ in range(n):
            found["manager"].append(visit(browser, manager.url + path, state))
            found["bare"].append(visit(browser, url + path, None))
    of_bare = statistics.median(one[1] for one in found["bare"])
    for name, times in found.items():
        first, painted, loaded = (statistics.median(one) for one in zip(*times, strict=True))
        print(f"{path:8}{name:9}{first:7.0f}{painted:8.0f}{loaded:8.0f}{painted / of_bare:7.2f}")


def main() -> None:
    """Measure each page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"{os.cpu_count()} processors, load {loads}\n{'':17}  first painted  loaded  ratio")
    with (
        tempfile.TemporaryDirectory() as folder,
        ManagerProcess(Path(folder), rows=4, settings={"BUSY_SLOWDOWN": "1"}) as manager,
        sync_playwright() as playwright,
        chromium(playwright) as browser,
    ):
        admin = Person(browser, manager, "en")
        admin.comes_in("admin", FIRST_PASSWORD, OWN)
        admin.headline("user.headline.idle")
        state = admin.context.storage_state()
        admin.page.close()
        for path, known in PAGES.items():
            compare(browser, manager, path, state if known else None, rounds)


if __name__ == "__main__":
    main()
