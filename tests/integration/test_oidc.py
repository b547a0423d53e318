"""The login through an OpenID Connect provider: a real one, a real manager, and what each may try.

The provider is a process of its own with real keys, which can be told to do each thing wrong.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from manager import oidc, settings
from manager.errors import Unavailable
from tests.support import oidc_provider, tls
from tests.support.client import Client, first_admin
from tests.support.oidc_provider import Provider
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

WAIT_S = 60
DOCUMENT = "/.well-known/openid-configuration"
HANDED_OUT = "a password handed out"
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
        button = re.search(r'href="/oidc/login\?by=([\w-]+)"', self.goes("/login").text)
        by = f"{'&' if '?' in path else '?'}by={button[1]}" if button else ""
        answer = self.goes(path + by)
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

    def makes(self, name: str) -> None:
        """Make an account, with a password that was handed out."""
        body = {"username": name, "password": HANDED_OUT, "is_admin": False, "assigned_port": None}
        self.admin.post("/api/admin/users", body)

    def tied(self, name: str) -> Browser:
        """Make an account and tie it to a new person, who is logged in then."""
        self.makes(name)
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

    def subject(self, name: str) -> str | None:
        """Say who of the provider an account is tied to."""
        question = "SELECT subject FROM sign_in_links JOIN users ON id = user_id WHERE username = ?"
        found = self.rows(question, name)
        return str(found[0][0]) if found else None

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
    if not town.subject("vera"):
        town.tied("vera")
    browser = Browser(town.manager)
    person = {"sub": town.subject("vera"), "preferred_username": "vera"}
    town.provider.told(wrong=wrong, person=person)
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
    town.makes("Olga")
    town.is_person("olga")
    browser = Browser(town.manager)
    answer = browser.comes_in()
    assert answer.status_code == 401
    assert "Ask your administrator to open yours" in answer.text
    # Nor the admin's, who was made by the program itself.
    town.is_person("admin")
    assert Browser(town.manager).comes_in().status_code == 401
    assert town.subject("admin") is None
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
    refused = town.rows(
        "SELECT detail FROM audit WHERE action = 'login_failed' AND actor = 'admin'"
    )
    assert "sign-in service" in refused[0][0]


def test_who_was_closed_out_again_or_untied_is_out(town: Town) -> None:
    town.makes("paul")
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
    browser = town.tied("fred")
    assert browser.is_in
    page = browser.goes("/account").text
    assert "You log in here with SSO." in page
    assert "through SSO" in page
    # By the password it is as before.
    with Client(town.manager, "fred", HANDED_OUT) as fred:
        assert fred.ask("GET", "/api/user/state").status_code == 403


def test_the_group_makes_admins_and_users_again(town: Town) -> None:
    browser = town.tied("gina")
    assert browser.goes("/admin").status_code == 403
    person = {"sub": town.subject("gina"), "preferred_username": "gina"}
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


def test_a_provider_that_says_nothing_holds_nobody_up(town: Town) -> None:
    browser = town.tied("slow")
    browser.session.cookies.clear()
    back = browser.back()
    before = town.provider.served("/token")
    town.provider.told(wrong="silent")
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


@pytest.mark.parametrize("wrong", [*oidc_provider.BAD_DOCUMENTS, "down"])
def test_a_discovery_document_that_does_not_hold_is_not_used(
    town: Town, tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A manager keeps the document; here is one that has none yet.
    monkeypatch.setattr(oidc, "FAILED_S", 0.0)
    found = settings.load(town.provider.settings(tmp_path), root=tmp_path)
    provider = oidc.Provider(found)
    back = "http://127.0.0.1:1/oidc/callback"
    if wrong == "down":
        elsewhere = settings.load(
            {**town.provider.settings(tmp_path), "OIDC_ISSUER": "http://127.0.0.1:1"}, root=tmp_path
        )
        provider = oidc.Provider(elsewhere)
    town.provider.told(wrong=wrong)
    with pytest.raises(Unavailable):
        provider.begin(back)
    town.provider.told(wrong="")
    if wrong != "down":
        assert provider.begin(back)[0].startswith(f"{town.provider.issuer}/authorize?")


def test_a_provider_whom_nobody_vouches_for_is_not_asked(tmp_path: Path) -> None:
    with Provider(tls.make_pair(tmp_path / "tls")) as elsewhere:
        found = settings.load(elsewhere.settings(tmp_path), root=tmp_path)
        with pytest.raises(Unavailable):
            oidc.Provider(found).begin("http://127.0.0.1:1/oidc/callback")
        assert elsewhere.served(DOCUMENT) == 0


def test_a_provider_that_did_not_answer_is_left_alone_for_a_while(
    town: Town, tmp_path: Path
) -> None:
    provider = oidc.Provider(settings.load(town.provider.settings(tmp_path), root=tmp_path))
    town.provider.told(wrong="document_text")
    for _ in range(3):
        with pytest.raises(Unavailable):
            provider.begin("http://127.0.0.1:1/oidc/callback")
    before = town.provider.served(DOCUMENT)
    with pytest.raises(Unavailable):
        provider.begin("http://127.0.0.1:1/oidc/callback")
    assert town.provider.served(DOCUMENT) == before


def test_the_document_and_the_keys_are_kept(town: Town, tmp_path: Path) -> None:
    browser = town.tied("kept")
    browser.session.cookies.clear()
    before = [town.provider.served(path) for path in (DOCUMENT, "/keys")]
    for _ in range(2):
        assert browser.comes_in().headers["Location"] == "/"
        browser.session.cookies.clear()
    assert [town.provider.served(path) for path in (DOCUMENT, "/keys")] == before


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "ann@example.com", "email_verified": True}, "ann@example.com"),
        ({"email": "ann@example.com", "email_verified": "true"}, ""),
        ({"email": "ann@example.com"}, ""),
        ({"email": ["ann@example.com"], "email_verified": True}, ""),
    ],
)
def test_an_address_is_a_name_only_where_the_provider_has_checked_it(
    town: Town, tmp_path: Path, claims: dict[str, Any], name: str
) -> None:
    environ = {**town.provider.settings(tmp_path), "OIDC_USERNAME_CLAIM": "email"}
    provider = oidc.Provider(settings.load(environ, root=tmp_path))
    town.provider.told(person={"sub": "1", **claims})
    back = "http://127.0.0.1:1/oidc/callback"
    url, begun = provider.begin(back)
    assert "email" in parse_qs(urlsplit(url).query)["scope"][0].split()
    answer = Browser(town.manager).goes(url)
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    assert provider.identity(code, back, begun).username == name


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
