"""One browser, one after the other: what the next user finds of the last one's. Real Chromium.

``safe`` is an address that browsers take for safe (loopback), ``plain`` one that they do not, as
http on a local network: there they lack some kinds of storage, and heed no ``Clear-Site-Data``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from manager.gate.gate import Gate, new_token
from manager.launcher.guard import with_tab_script
from manager.ports import PortRow
from manager.web import i18n
from tests.support.browser import ARGUMENTS, CHROMIUM, WAIT_MS
from tests.support.gate import Upstream, opening, project, running_gate, upstream
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser

ANN, BOB = 2, 3
HOSTS = {"safe": "127.0.0.1", "plain": "workspaces.test"}

PAGE = with_tab_script(
    b"""<!doctype html><html><head><title>A workspace</title></head><body><script>
const name = new URLSearchParams(location.search).get("poll");
if (name) setInterval(() => fetch(`/poll?by=${name}`), 20);
addEventListener("beforeunload", (event) => {
  localStorage.setItem("draft", "saved on the way out");
  event.preventDefault();
});
</script></body></html>"""
)

LEAVE_TRACES = """async () => {
  localStorage.setItem("draft", "of the last user");
  sessionStorage.setItem("draft", "of the last user");
  await new Promise((done) => {
    const asked = indexedDB.open("drafts", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("all");
    asked.onsuccess = () => { asked.result.close(); done(); };
  });
  if (!isSecureContext) return "plain";
  const cache = await caches.open("drafts");
  await cache.put("/draft", new Response("of the last user"));
  const folder = await navigator.storage.getDirectory();
  await folder.getFileHandle("draft", { create: true });
  return "safe";
}"""

TRACES = """async () => {
  const found = [];
  if (localStorage.getItem("draft")) found.push("localStorage");
  if (sessionStorage.getItem("draft")) found.push("sessionStorage");
  for (const { name } of await indexedDB.databases()) found.push(`indexedDB ${name}`);
  if (!isSecureContext) return found;
  for (const name of await caches.keys()) found.push(`cache ${name}`);
  const folder = await navigator.storage.getDirectory();
  for await (const name of folder.keys()) found.push(`file ${name}`);
  return found;
}"""

ALL_TRACES = {
    "plain": ["localStorage", "sessionStorage", "indexedDB drafts"],
    "safe": ["localStorage", "sessionStorage", "indexedDB drafts", "cache drafts", "file draft"],
}


@dataclass
class Workshop:
    """Two gates and one browser in front of them."""

    gate: Gate
    rows: tuple[PortRow, ...]
    behind: Upstream
    context: BrowserContext
    kind: str

    def opens_for(self, owner: int, port: int | None = None) -> str:
        """Open a gate for a user, as after a new start, and give the link."""
        row = self.rows[0] if port is None else next(r for r in self.rows if r.port == port)
        token = new_token()
        behind = opening(self.behind.server_port, token, owner=owner)
        assert self.gate.apply({row.port: behind}) == {}
        return f"{self.address(row)}?token_{row.port}={token}"

    def address(self, row: PortRow) -> str:
        return f"http://{HOSTS[self.kind]}:{row.workspace_port}/"

    def polls(self, name: str) -> int:
        """Count what a page asked the workspace in the background."""
        return sum(seen["path"] == f"/poll?by={name}" for seen in self.behind.seen)

    def comes_in(self, owner: int, tab: Page | None = None) -> Page:
        """Follow a new link to the workspace."""
        tab = tab or self.context.new_page()
        tab.goto(self.opens_for(owner))
        expect(tab).to_have_url(self.address(self.rows[0]))
        expect(tab).to_have_title("A workspace")
        return tab


@pytest.fixture(scope="module")
def far(browser: Browser) -> Iterator[Browser]:
    """A Chromium that finds a name which is not this machine's own, at this machine."""
    rule = f"--host-resolver-rules=MAP {HOSTS['plain']} 127.0.0.1"
    found = browser.browser_type.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, rule])
    yield found
    found.close()


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, tuple[PortRow, ...]]]:
    of = project(tmp_path_factory.mktemp("workshop"), rows=2)
    with running_gate(of) as gate:
        yield gate, of.ports


@pytest.fixture(params=["safe", "plain"])
def workshop(
    far: Browser, gates: tuple[Gate, tuple[PortRow, ...]], request: pytest.FixtureRequest
) -> Iterator[Workshop]:
    gate, rows = gates
    context = far.new_context()
    context.set_default_timeout(WAIT_MS)
    with upstream(rows[0].port) as behind:
        behind.pages["/"] = ("text/html", PAGE)
        behind.pages["/?poll=ann"] = ("text/html", PAGE)
        yield Workshop(gate, rows, behind, context, str(request.param))
        context.close()


def test_the_next_user_finds_nothing_and_the_same_user_everything(workshop: Workshop) -> None:
    tab = workshop.comes_in(ANN)
    assert tab.evaluate(LEAVE_TRACES) == workshop.kind
    assert tab.evaluate(TRACES) == ALL_TRACES[workshop.kind], "the test leaves and finds traces"
    workshop.comes_in(ANN, tab)
    assert tab.evaluate(TRACES) == ALL_TRACES[workshop.kind], "a new start, the same user"
    workshop.comes_in(BOB, tab)
    assert tab.evaluate(TRACES) == []
    workshop.comes_in(ANN, tab)
    assert tab.evaluate(TRACES) == []


def test_what_belongs_to_another_port_stays(workshop: Workshop) -> None:
    other = workshop.context.new_page()
    other.goto(workshop.opens_for(ANN, workshop.rows[1].port))
    expect(other).to_have_title("A workspace")
    other.evaluate(LEAVE_TRACES)
    workshop.comes_in(BOB)
    assert other.evaluate(TRACES) == ALL_TRACES[workshop.kind]


def test_an_open_page_of_the_last_user_leaves_and_reaches_nobody(workshop: Workshop) -> None:
    old = workshop.comes_in(ANN)
    old.goto(workshop.address(workshop.rows[0]) + "?poll=ann")
    expect(old).to_have_title("A workspace")
    old.evaluate(LEAVE_TRACES)
    # A page asks whether to stay only where somebody has done something in it.
    old.on("dialog", lambda dialog: dialog.accept())
    old.mouse.click(5, 5)
    wait_until(lambda: workshop.polls("ann") > 0, 20, "the old page reaches its own workspace")
    link = workshop.opens_for(BOB)
    workshop.behind.seen.clear()
    new = workshop.context.new_page()
    new.goto(link)
    expect(new).to_have_url(workshop.address(workshop.rows[0]))
    expect(old).to_have_url(f"{workshop.address(workshop.rows[0])}.gate/left")
    expect(old.get_by_role("heading", level=1)).to_have_text(
        i18n.translate("en", "gate.ended.title")
    )
    assert workshop.polls("ann") == 0
    assert new.evaluate(TRACES) == [], "nor did the old page save its draft again"


def test_no_service_worker_can_be_left_behind(workshop: Workshop) -> None:
    workshop.behind.pages["/worker.js"] = ("text/javascript", b"// sees all requests of the port")
    tab = workshop.comes_in(ANN)
    told = tab.evaluate(
        """async () => {
          if (!navigator.serviceWorker) return "this browser has none here";
          await fetch("/worker.js").then((answer) => answer.text());
          return navigator.serviceWorker.register("/worker.js").then(() => "in", String);
        }"""
    )
    if workshop.kind == "safe":
        assert "403" in told
    else:
        assert told == "this browser has none here"
