"""The login through an OpenID Connect provider: a real one, a real manager, and what each may try.

The provider is a process of its own with real keys, which can be told to do each thing wrong.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.support import oidc_provider, tls
from tests.support.client import ADMIN_PASSWORD, Client, first_admin, new_user
from tests.support.oidc_provider import Provider
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

WAIT_S = 60
NUMBERS = itertools.count(2)


class From(HTTPAdapter):
    """Comes from an address of its own, so that nobody's tries count for another."""

    def init_poolmanager(self, *given: Any, **more: Any) -> None:
        address = f"127.9.{next(NUMBERS) % 200}.{next(NUMBERS) % 250 + 1}"
        super().init_poolmanager(*given, **more, source_address=(address, 0))


class Browser:
    """A visitor's, that follows each redirect when it is told to."""

    def __init__(self, manager: ManagerProcess) -> None:
        self.manager = manager
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = False
        self.session.mount("http://", From())

    def goes(self, url: str) -> requests.Response:
        """Open an address, of the manager or another, and follow nothing."""
        whole = url if url.startswith("http") else self.manager.url + url
        return self.session.get(whole, timeout=WAIT_S, allow_redirects=False)

    def sent(self, path: str = "/oidc/login") -> str:
        """Begin, and give where the manager sends to."""
        answer = self.goes(path)
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def back(self, path: str = "/oidc/login") -> str:
        """Begin, pass the provider, and give where that sends back to."""
        answer = self.goes(self.sent(path))
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def comes_in(self, path: str = "/oidc/login") -> requests.Response:
        """Go all the way, up to what the manager answers then."""
        return self.goes(self.back(path))

    @property
    def is_in(self) -> bool:
        return self.goes("/account").status_code == 200


def logged(manager: ManagerProcess) -> str:
    return manager.log_path.read_text(encoding="utf-8")


class Town:
    """One provider, one manager, its admin."""

    def __init__(self, provider: Provider, manager: ManagerProcess, admin: Client) -> None:
        self.provider = provider
        self.manager = manager
        self.admin = admin
        self.subjects = itertools.count(1000)

    def is_person(self, name: str, **more: Any) -> dict[str, Any]:
        """Have a new person be the one who logs in at the provider, and nothing go wrong there."""
        person = {"sub": str(next(self.subjects)), "preferred_username": name, **more}
        self.provider.told(person=person, wrong="")
        return person

    def changes(self, act: str, *names: str) -> requests.Response:
        """Do something on the page of who may come in."""
        users = self.admin.get("/api/admin/overview")["users"]
        ids = [str(one["id"]) for one in users if one["username"] in names]
        assert len(ids) == len(names)
        form = {"act": act, "user_id": ids, "csrf_token": self.admin.session.headers["X-CSRFToken"]}
        url = f"{self.manager.url}/admin/sign-ins"
        return self.admin.session.post(url, data=form, timeout=WAIT_S, allow_redirects=False)

    def tied(self, name: str) -> Browser:
        """Make an account and tie it to a new person, who is logged in then."""
        new_user(self.admin, name).close()
        self.changes("allow", name)
        self.is_person(name)
        browser = Browser(self.manager)
        assert browser.comes_in().headers["Location"] == "/"
        return browser

    def rows(self, question: str, *values: object) -> list[Any]:
        """Look into the database."""
        path = self.manager.env["DATABASE_PATH"]
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            return connection.execute(question, values).fetchall()

    def patch(self, name: str, **change: Any) -> None:
        """Change an account."""
        users = self.admin.get("/api/admin/overview")["users"]
        number = next(one["id"] for one in users if one["username"] == name)
        assert self.admin.ask("PATCH", f"/api/admin/users/{number}", change).ok


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("oidc")
    with Provider() as provider:
        settings = {**provider.settings(folder), "OIDC_ADMIN_GROUP": "gpu-admins"}
        with ManagerProcess(folder / "manager", rows=1, settings=settings) as manager:
            yield Town(provider, manager, first_admin(manager))


@pytest.fixture(autouse=True)
def is_right(town: Town) -> Iterator[None]:
    yield
    town.provider.told(wrong="")


def test_what_is_sent_along_is_bound_to_the_browser_and_good_once(town: Town) -> None:
    browser = town.tied("bound")
    browser.session.cookies.clear()
    sent = parse_qs(urlsplit(browser.sent()).query)
    assert sent["redirect_uri"] == [f"{town.manager.url}/oidc/callback"]
    assert sent["code_challenge_method"] == ["S256"]
    assert len(sent["nonce"][0]) >= 20
    assert len(sent["state"][0]) >= 20
    back = browser.back()
    # Somebody else's browser, with what he has seen of it.
    other = Browser(town.manager)
    other.sent()
    assert other.goes(back).status_code == 401
    assert not other.is_in
    kept = dict(browser.session.cookies)
    assert browser.goes(back).status_code == 302
    assert browser.is_in
    # The very same again, with the cookie that was good for it.
    browser.session.cookies.clear()
    browser.session.cookies.update(kept)
    tokens = town.provider.served("/token")
    assert browser.goes(back).status_code == 401
    assert town.provider.served("/token") == tokens
    assert not browser.is_in


@pytest.mark.parametrize("wrong", oidc_provider.BAD_TOKENS)
def test_a_token_that_does_not_hold_opens_nothing(town: Town, wrong: str) -> None:
    browser = Browser(town.manager)
    new = not town.rows("SELECT 1 FROM users WHERE username = 'vera'")
    if new:
        town.tied("vera")
    subject = town.rows(
        "SELECT subject FROM sign_in_links JOIN users ON users.id = user_id WHERE username = 'vera'"
    )[0][0]
    town.provider.told(wrong=wrong, person={"sub": subject, "preferred_username": "vera"})
    answer = browser.comes_in()
    assert answer.status_code == 401, answer.headers
    assert "does not hold" in answer.text
    assert not browser.is_in
    # It was this alone that was wrong.
    town.provider.told(wrong="")
    assert browser.comes_in().headers["Location"] == "/"
    assert browser.is_in


def test_a_provider_with_new_keys_is_believed(town: Town) -> None:
    browser = town.tied("keys")
    browser.session.cookies.clear()
    town.provider.told(new_keys=True)
    assert browser.comes_in().headers["Location"] == "/"
    assert browser.is_in


def test_a_code_of_another_login_opens_nothing(town: Town) -> None:
    town.tied("codes")
    thief, owner = Browser(town.manager), Browser(town.manager)
    begun = parse_qs(urlsplit(thief.back()).query)
    code = parse_qs(urlsplit(owner.back()).query)["code"][0]
    answer = thief.goes(f"/oidc/callback?state={begun['state'][0]}&code={code}")
    assert answer.status_code == 401
    assert not thief.is_in


def test_an_answer_of_another_issuer_is_refused(town: Town) -> None:
    browser = town.tied("mixed")
    browser.session.cookies.clear()
    back = browser.back().replace(f"{town.provider.port}", "1", 1)
    assert "iss=" in back
    tokens = town.provider.served("/token")
    assert browser.goes(f"{back.partition('&iss=')[0]}&iss=https://e.example").status_code == 401
    assert town.provider.served("/token") == tokens


def test_who_is_not_let_in_is_told_so(town: Town) -> None:
    town.is_person("nobody")
    town.provider.told(wrong="denies")
    browser = Browser(town.manager)
    answer = browser.comes_in()
    assert answer.status_code == 401
    assert "let nobody in" in answer.text


def test_a_name_alone_opens_no_account(town: Town) -> None:
    new_user(town.admin, "Olga").close()
    town.is_person("olga")
    browser = Browser(town.manager)
    answer = browser.comes_in()
    assert answer.status_code == 401
    assert "Ask your administrator to open yours" in answer.text
    # Nor the admin's, who was made by the program itself.
    town.is_person("admin")
    assert Browser(town.manager).comes_in().status_code == 401
    assert not town.rows("SELECT 1 FROM sign_in_links JOIN users ON id = user_id WHERE id = 1")
    assert town.changes("allow", "Olga").status_code == 302
    owner = town.is_person("olga")
    assert browser.comes_in().headers["Location"] == "/"
    # It is hers now, whatever others call themselves.
    town.is_person("Olga")
    other = Browser(town.manager)
    assert other.comes_in().status_code == 401
    assert not other.is_in
    town.provider.told(person={**owner, "preferred_username": "another name"})
    assert Browser(town.manager).comes_in().headers["Location"] == "/"
    audit = town.rows("SELECT action FROM audit WHERE subject = 'Olga' ORDER BY id")
    assert [one for (one,) in audit if one.startswith("sign_in")] == [
        "sign_in_allowed",
        "sign_in_tied",
    ]
    refused = town.rows("SELECT detail FROM audit WHERE action = 'login_failed' AND actor = 'admin'")
    assert "sign-in service" in refused[0][0]


def test_who_was_closed_out_again_or_untied_is_out(town: Town) -> None:
    new_user(town.admin, "paul").close()
    town.changes("allow", "paul")
    town.changes("forbid", "paul")
    town.is_person("paul")
    browser = Browser(town.manager)
    assert browser.comes_in().status_code == 401
    town.changes("allow", "paul")
    assert browser.comes_in().headers["Location"] == "/"
    assert browser.is_in
    assert town.changes("untie", "paul").status_code == 302
    assert not browser.is_in
    assert browser.comes_in().status_code == 401


def test_a_disabled_account_stays_closed(town: Town) -> None:
    browser = town.tied("dora")
    town.patch("dora", is_active=False)
    assert not browser.is_in
    answer = browser.comes_in()
    assert answer.status_code == 401
    assert "disabled" in answer.text
    assert not browser.is_in


def test_an_account_that_was_handed_out_with_a_password_asks_for_none(town: Town) -> None:
    body = {"username": "fred", "password": "handed out to fred", "is_admin": False}
    town.admin.post("/api/admin/users", {**body, "assigned_port": None})
    town.changes("allow", "fred")
    town.is_person("fred")
    browser = Browser(town.manager)
    assert browser.comes_in().headers["Location"] == "/"
    assert browser.is_in
    page = browser.goes("/account").text
    assert "You log in here with SSO." in page
    assert "through SSO" in page
    # By the password it is as before.
    with Client(town.manager, "fred", "handed out to fred") as fred:
        assert fred.ask("GET", "/api/user/state").status_code == 403


def test_the_group_makes_admins_and_users_again(town: Town) -> None:
    browser = town.tied("gina")
    assert browser.goes("/admin").status_code == 403
    subject = town.rows(
        "SELECT subject FROM sign_in_links JOIN users ON id = user_id WHERE username = 'gina'"
    )[0][0]
    person = {"sub": subject, "preferred_username": "gina"}
    for groups, status in (
        (["others", "gpu-admins"], 200),
        ("gpu-admins and others", 403),
        (["gpu-admins"], 200),
        (None, 403),
    ):
        town.provider.told(person={**person, "groups": groups})
        again = Browser(town.manager)
        assert again.comes_in().headers["Location"] == "/"
        assert again.goes("/admin").status_code == status, groups
    # The first browser's login is the same account's, with its rights of now.
    assert browser.goes("/admin").status_code == 403


def test_where_it_goes_then_is_a_page_of_ours(town: Town) -> None:
    town.tied("next")
    for wanted, goes in (
        ("/account", "/account"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/oidc/login", "/"),
    ):
        browser = Browser(town.manager)
        answer = browser.comes_in(f"/oidc/login?next={wanted}")
        assert answer.headers["Location"] == goes
        # Who is in already is not sent through the provider again.
        assert browser.sent(f"/oidc/login?next={wanted}") == goes


def test_a_page_elsewhere_cannot_use_up_a_visitor_s_tries(town: Town) -> None:
    town.tied("tries")
    browser = Browser(town.manager)
    browser.sent()
    for _ in range(70):
        assert browser.goes("/oidc/callback?state=made-up&code=made-up").status_code == 401
    assert browser.comes_in().headers["Location"] == "/"


def test_returns_that_open_nothing_are_slowed_down(town: Town) -> None:
    town.is_person("unknown")
    browser = Browser(town.manager)
    found = [browser.comes_in() for _ in range(61)]
    assert [one.status_code for one in found] == [401] * 60 + [429]
    assert int(found[-1].headers["Retry-After"]) > 0
    # With passwords it is one count.
    page = browser.goes("/login").text
    csrf = re.search(r'name="csrf-token" content="([^"]+)"', page)
    assert csrf
    form = {"username": "admin", "password": ADMIN_PASSWORD, "csrf_token": csrf[1]}
    headers = {"Origin": town.manager.url}
    url = f"{town.manager.url}/login"
    answer = browser.session.post(url, data=form, headers=headers, timeout=WAIT_S)
    assert answer.status_code == 429
    town.tied("elsewhere")


def test_a_provider_that_says_nothing_holds_nobody_up(town: Town) -> None:
    browser = town.tied("slow")
    browser.session.cookies.clear()
    back = browser.back()
    before = town.provider.served("/token")
    town.provider.told(wrong="silent")
    import threading

    found: list[requests.Response] = []
    waiting = threading.Thread(target=lambda: found.append(browser.goes(back)))
    waiting.start()
    wait_until(lambda: town.provider.served("/token") > before, WAIT_S, "it has been asked")
    # It waits there, and the others do not.
    for _ in range(5):
        assert town.admin.ask("GET", "/api/admin/overview").ok
    assert not found
    waiting.join(WAIT_S)
    town.provider.told(go_on=True)
    assert found[0].status_code == 503
    assert "does not answer" in found[0].text
    assert 'name="password"' in found[0].text


def test_a_provider_that_is_broken_or_down_is_said(town: Town) -> None:
    browser = town.tied("down")
    browser.session.cookies.clear()
    town.provider.told(wrong="broken")
    assert browser.comes_in().status_code == 503
    back = browser.back()
    town.provider.stop()
    answer = browser.goes(back)
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert not browser.is_in
    town.provider.start()
    # It has other keys now, and knows nobody.
    town.is_person("down")
    assert browser.comes_in().status_code == 401


def test_nothing_secret_is_in_the_log_or_on_a_page(town: Town) -> None:
    browser = town.tied("quiet")
    for path in ("/settings", "/admin", "/admin/sign-ins", "/account"):
        page = town.admin.ask("GET", path).text
        assert oidc_provider.CLIENT_SECRET not in page
        assert browser.goes(path).status_code in {200, 403}
    text = logged(town.manager) + town.manager.output_path.read_text(encoding="utf-8")
    assert oidc_provider.CLIENT_SECRET not in text
    assert "code=" not in text
    assert "state=" not in text
    assert "Traceback" not in text
