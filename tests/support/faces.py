"""Looking at a page: what axe-core finds, what moved while it loaded, what it weighs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import CDPSession, Locator, Page, Route, ViewportSize, expect

LANGUAGES = ("zh_CN", "en")
PHONE = ViewportSize(width=360, height=740)
DESK = ViewportSize(width=1200, height=760)

# Between two schemes a colour may be on its way, and be read as half the one, half the other.
_COLOURS_HAVE_CHANGED = """async () => {
  await new Promise((painted) => requestAnimationFrame(() => requestAnimationFrame(painted)));
  const fading = document.getAnimations().filter((one) => one instanceof CSSTransition);
  await Promise.allSettled(fading.map((one) => one.finished));
}"""

# Buffered, so that shifts before the script count too.
_WATCH_SHIFTS = """
window.__shifts = [];
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) {
    const moved = one.sources.map(({ node, previousRect: from, currentRect: to }) => [
      (node?.outerHTML ?? `${node?.textContent} ${node?.parentElement?.outerHTML}`).slice(0, 160),
      [from.x, from.y, from.width, from.height], [to.x, to.y, to.width, to.height],
    ]);
    if (!one.hadRecentInput) window.__shifts.push([one.value, moved]);
  }
}).observe({ type: "layout-shift", buffered: true });
"""


def findings(page: Page, within: str | None = None) -> list[str]:
    """Run axe-core and tell what it finds where: all rules in light, those of colour in dark.

    ``within`` is a selector: nothing else is looked at.
    """
    # What was just unfolded must have been painted once, or Chromium keeps its old colours.
    page.evaluate(_COLOURS_HAVE_CHANGED)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    found = _findings(page, "light", {}, within)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    return found + _findings(page, "dark", {"runOnly": ["color-contrast"]}, within)


def _findings(page: Page, scheme: str, options: dict[str, Any], within: str | None) -> list[str]:
    page.evaluate(_COLOURS_HAVE_CHANGED)
    found = Axe().run(page, context=within, options=options)
    return [
        f"{scheme}: {one['id']}: {node['html'][:160]}: {node['failureSummary']}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]


def wait_for_pictures(images: Locator) -> None:
    """Scroll to each picture, as those far away are not loaded, and wait until it is decoded."""
    for image in images.all():
        image.scroll_into_view_if_needed()
        expect(image).not_to_have_js_property("naturalWidth", 0)


def watch_shifts(page: Page) -> None:
    """Have every page that is opened from now on remember what moved in it."""
    page.add_init_script(_WATCH_SHIFTS)


def shifts(page: Page) -> list[Any]:
    """Give what moved without the reader having done anything."""
    found: list[Any] = page.evaluate("window.__shifts")
    return found


# Longer than a browser waits with its first picture of a page for anything it need not wait for.
_SCRIPT_DELAY_S = 1.0

_PAINTED_AFTER_SCRIPTS = """() => {
  const [painted] = performance.getEntriesByName("first-contentful-paint");
  const fetched = performance.getEntriesByType("resource");
  const scripts = fetched.filter((one) => one.name.includes("/js/"));
  return scripts.length > 0 && scripts.every((one) => painted.startTime >= one.responseEnd);
}"""


def delay_scripts(page: Page) -> None:
    """Have the page's scripts come late, as over a slow network."""

    def late(route: Route) -> None:
        time.sleep(_SCRIPT_DELAY_S)
        route.continue_()

    page.route("**/static/**/js/**", late)


def painted_after_scripts(page: Page) -> bool:
    """Tell whether the page showed nothing before its scripts were there."""
    return bool(page.evaluate(_PAINTED_AFTER_SCRIPTS))


@dataclass
class Traffic:
    """What a page fetched, as the browser counts it on the wire."""

    requests: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    compressed_bytes: int = 0
    session: CDPSession | None = None

    def sent(self) -> list[str]:
        """List the addresses that the server was asked for: not what the browser had kept."""
        return [url for number, url in self.requests.items() if number not in self.kept]

    def taken(self) -> Traffic:
        """Give what was counted so far, and count anew."""
        counted = Traffic(self.requests, self.kept, self.compressed_bytes)
        self.requests, self.kept, self.compressed_bytes = {}, set(), 0
        return counted


def count_traffic(page: Page) -> Traffic:
    """Count requests and bytes from now on."""
    session = page.context.new_cdp_session(page)
    traffic = Traffic(session=session)

    def sent(event: dict[str, Any]) -> None:
        traffic.requests[event["requestId"]] = event["request"]["url"]

    def kept(event: dict[str, Any]) -> None:
        traffic.kept.add(event["requestId"])

    def loaded(event: dict[str, Any]) -> None:
        traffic.compressed_bytes += int(event["encodedDataLength"])

    session.on("Network.requestWillBeSent", sent)
    session.on("Network.requestServedFromCache", kept)
    session.on("Network.loadingFinished", loaded)
    session.send("Network.enable")
    return traffic
