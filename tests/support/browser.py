"""People in real browsers: one context each, in one language, whose console must stay clean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Playwright, expect

from manager.web import i18n
from tests.support.server import ManagerProcess

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WAIT_MS = 30_000
LOCALES = {"zh_CN": "zh-CN", "en": "en-GB"}
FIRST_PASSWORD = "admin123"

expect.set_options(timeout=WAIT_MS)


@contextmanager
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Run the system's Chromium."""
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    try:
        yield browser
    finally:
        browser.close()


class Person:
    """Somebody with an own browser profile."""

    def __init__(
        self,
        browser: Browser,
        manager: ManagerProcess,
        language: str,
        **context: Any,
    ) -> None:
        """Open an empty page."""
        self.manager = manager
        self.language = language
        self.context = browser.new_context(locale=LOCALES[language], **context)
        self.context.set_default_timeout(WAIT_MS)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def t(self, key: str, **params: object) -> str:
        """Say a sentence of the page in this person's language."""
        return i18n.translate(self.language, key, **params)

    def button(self, key: str, **params: object) -> Locator:
        """Find a button by its words."""
        return self.page.get_by_role("button", name=self.t(key, **params), exact=True)

    def link(self, key: str) -> Locator:
        """Find a link by its words."""
        return self.page.get_by_role("link", name=self.t(key), exact=True)

    def field(self, key: str) -> Locator:
        """Find a field by its label."""
        return self.page.get_by_label(self.t(key), exact=True)

    def sees(self, key: str, **params: object) -> None:
        """Expect a sentence to be visible."""
        expect(self.page.get_by_text(self.t(key, **params), exact=True).first).to_be_visible()

    def headline(self, key: str) -> None:
        """Expect the page's main words."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(self.t(key))

    def goes(self, path: str = "/") -> None:
        """Open a page of the manager."""
        self.page.goto(self.manager.url + path)

    def log_in(self, username: str, password: str) -> None:
        """Fill the login form in."""
        self.goes("/login")
        self.field("login.username").fill(username)
        self.field("login.password").fill(password)
        self.button("login.submit").click()

    def sets_own_password(self, old: str, new: str) -> None:
        """Do what the first login asks for."""
        self.headline("password.forced_title")
        self.sees("password.forced")
        self.field("password.old").fill(old)
        self.field("password.new").fill(new)
        self.field("password.repeat").fill(new)
        self.button("password.submit").click()
        expect(self.page).to_have_url(f"{self.manager.url}/")

    def comes_in(self, username: str, given: str, own: str) -> None:
        """Log in for the first time."""
        self.log_in(username, given)
        self.sets_own_password(given, own)

    def creates_user(self, username: str, password: str, port: int | None = None) -> None:
        """Make an account in the admins' dialog."""
        self.button("admin.users.create").click()
        dialog = self.page.get_by_role("dialog", name=self.t("admin.create.title"))
        dialog.get_by_label(self.t("admin.users.name"), exact=True).fill(username)
        dialog.get_by_label(self.t("admin.create.password"), exact=True).fill(password)
        if port is not None:
            dialog.get_by_label(self.t("admin.users.port"), exact=True).select_option(str(port))
        dialog.get_by_role("button", name=self.t("admin.create.submit"), exact=True).click()
        self.sees("admin.created", username=username)
        expect(dialog).to_be_hidden()

    def starts(self) -> None:
        """Press the big button and wait until the workspace can be opened."""
        self.page.get_by_role("button", name=self.t("user.start")).click()
        self.headline("user.headline.running")

    def opens_workspace(self) -> Page:
        """Follow the link into a new tab."""
        with self.context.expect_page() as opened:
            self.link("user.open").click()
        tab = opened.value
        tab.wait_for_load_state()
        return tab

    def stops(self) -> None:
        """Stop and confirm."""
        self.button("user.stop").click()
        self.button("user.stop_confirm.yes").click()

    def agrees(self, key: str) -> None:
        """Press the dangerous button of the open question."""
        self.page.get_by_role("dialog").get_by_role("button", name=self.t(key), exact=True).click()

    def has_no_complaints(self, *but: str) -> None:
        """Expect a clean console, except for lines that contain one of ``but``."""
        rest = [line for line in self.complaints if not any(part in line for part in but)]
        assert rest == []

    def has_no_sideways_scrolling(self) -> None:
        """Expect the page to fit its window's width."""
        self.page.wait_for_load_state("load")
        wider = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wider <= 0, f"{self.page.url} is {wider} px too wide"

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Take a picture."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path), full_page=whole)
