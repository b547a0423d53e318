"""The pages of the login through a provider, around accounts in memory and without a provider."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from manager.sign_in_records import Begun, Identity
from manager.web import oidc
from tests.support.web import ORIGIN, Site, Visitor

ISSUER = "https://id.example.com/realms/lab"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "secret").write_text("S3CRET", encoding="utf-8")
    return Site(
        tmp_path,
        OIDC_ISSUER=ISSUER,
        OIDC_CLIENT_ID="us",
        OIDC_CLIENT_SECRET_FILE="secret",
        OIDC_ADMIN_GROUP="gpu-admins",
        OIDC_CREATE_USERS="true",
    )


def begins(visitor: Visitor, left: float) -> None:
    """Have the browser keep what it does when a login was begun, good for so many seconds."""
    kept = {"state": "s", "nonce": "n", "verifier": "v", "next": "/account"}
    with visitor.client.session_transaction(base_url=ORIGIN) as session:
        session[oidc.BEGUN_KEY] = {**kept, "until": time.time() + left}


def test_without_a_provider_there_is_nothing_of_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert "/oidc/login" not in site.visitor().get("/login").text
    admin = site.visitor("admin")
    assert "sign-ins" not in admin.get("/admin").text
    assert "log in with" not in admin.get("/account").text
    assert admin.get("/password").status_code == 200


@pytest.mark.parametrize(
    ("language", "words"), [("en", "Log in with SSO"), ("zh-CN", "<span>单点登录</span>")]
)
def test_the_login_page_has_its_button(site: Site, language: str, words: str) -> None:
    page = site.visitor(**{"Accept-Language": language}).get("/login").text
    assert words in page
    assert re.search(r'href="/oidc/login\?by=[\w-]{32}"', page)


class Silent:
    """A provider that is begun with, and sends nobody back."""

    def begin(self, back: str) -> tuple[str, Begun]:
        return f"https://id.example.com/auth?back={back}", Begun("s", "n", "v")


def test_no_page_elsewhere_can_press_it(site: Site) -> None:
    site.app.extensions[oidc.EXTENSION].provider = Silent()
    visitor, other = site.visitor(), site.visitor()
    found = re.search(r'href="(/oidc/login\?by=[\w-]+)"', other.get("/login").text)
    assert found
    visitor.get("/login")
    for path in ("/oidc/login", "/oidc/login?by=", "/oidc/login?by=x", found[1]):
        answer = visitor.get(path)
        assert (answer.status_code, answer.location) == (302, "/login"), path
        with visitor.client.session_transaction(base_url=ORIGIN) as session:
            assert oidc.BEGUN_KEY not in session
    stranger = site.visitor()
    assert stranger.get("/oidc/login?by=").location == "/login", "who has no page of ours at all"
    assert other.get(found[1]).location.startswith("https://id.example.com/auth")


def test_its_name_is_written_as_text(tmp_path: Path) -> None:
    (tmp_path / "oidc_client_secret").write_text("S3CRET", encoding="utf-8")
    site = Site(tmp_path, OIDC_ISSUER=ISSUER, OIDC_CLIENT_ID="us", OIDC_NAME="<b>Lab & Co")
    assert "Log in with &lt;b&gt;Lab &amp; Co" in site.visitor().get("/login").text


def test_the_secret_is_on_no_page(site: Site) -> None:
    page = site.visitor("admin").get("/settings").text
    assert "S3CRET" not in page
    assert "OIDC_CLIENT_SECRET_FILE" in page


def test_a_return_that_nobody_has_begun_opens_nothing_and_counts_as_no_try(site: Site) -> None:
    visitor = site.visitor()
    for path in ("/oidc/callback", "/oidc/callback?state=x&code=y", "/oidc/callback?error=x"):
        answer = visitor.get(path)
        assert answer.status_code == 401
        assert "was not begun in this browser" in answer.text
    # What comes from a page elsewhere has no cookie, or not this state: it must not use up tries.
    assert site.house.accounts.sign_ins.tries == []


def test_a_return_of_one_s_own_counts_before_the_provider_is_asked(site: Site) -> None:
    site.house.accounts.sign_ins.throttled = True
    visitor = site.visitor()
    begins(visitor, 60)
    answer = visitor.get("/oidc/callback?state=s&code=c")
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "17"
    assert len(site.house.accounts.sign_ins.tries) == 1


@pytest.mark.parametrize("left", [-1.0, 601.0])
def test_a_login_that_took_too_long_is_begun_anew(site: Site, left: float) -> None:
    visitor = site.visitor()
    begins(visitor, left)
    assert visitor.get("/oidc/callback?state=s&code=c").status_code == 401
    assert site.house.accounts.sign_ins.tries == []


class Vouching:
    """In the provider's place: whoever comes is the person of subject «s»."""

    def identity(self, code: str, redirect_uri: str, begun: Begun) -> Identity:
        assert (code, begun.verifier) == ("c", "v")
        assert redirect_uri == f"{ORIGIN}/oidc/callback"
        return Identity(ISSUER, "s", "ann")


def test_who_comes_back_is_in_with_a_session_of_his_own(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.app.extensions[oidc.EXTENSION] = oidc.Desk(Vouching())  # type: ignore[arg-type]
    site.house.accounts.sign_ins.subjects = {2: "s"}
    told: list[bool] = []
    monkeypatch.setattr(site.live, "accounts_changed", lambda: told.append(True))
    visitor = site.visitor("bob")
    before = visitor.csrf()
    told.clear()
    begins(visitor, 60)
    answer = visitor.get("/oidc/callback?state=s&code=c")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/account")
    assert "ann" in visitor.get("/account").text
    assert visitor.csrf() != before
    assert list(site.house.accounts.sessions.values()) == [2]
    # Once for the login that has ended, once for what may be new.
    assert len(told) == 2


def test_only_admins_say_who_may_come_in(site: Site) -> None:
    for name, status in ((None, 302), ("ann", 403), ("admin", 200), ("new", 302)):
        visitor = site.visitor(name)
        assert visitor.get("/admin/sign-ins").status_code == status, name
        form = {"act": "allow", "user_id": "2"}
        changed = visitor.send("POST", "/admin/sign-ins", data=form)
        assert changed.status_code == (403 if name == "ann" else 302), name
        assert site.house.accounts.sign_ins.open == ({2} if name in {"admin", "new"} else set())


def test_an_admin_opens_closes_and_unties(site: Site) -> None:
    sign_ins, admin = site.house.accounts.sign_ins, site.visitor("admin")
    sign_ins.subjects = {2: "subject-of-ann"}
    page = admin.get("/admin/sign-ins").text
    assert re.search(r'data-user="2" data-tie="tied"', page)
    assert "subject-of-ann" in page
    assert re.search(r'data-user="3" data-tie="closed"', page)
    for form, status in (
        ({"act": "allow", "user_id": ["3", "4"]}, 302),
        ({"act": "allow", "user_id": ["999"]}, 404),
        ({"act": "allow", "user_id": ["9" * 5000]}, 400),
        ({"act": "allow", "user_id": ["٣"]}, 400),
        ({"act": "else", "user_id": ["3"]}, 400),
        ({"act": "forbid", "user_id": ["4"]}, 302),
        ({"act": "untie", "user_id": ["2"]}, 302),
    ):
        assert admin.send("POST", "/admin/sign-ins", data=form).status_code == status, form
    assert sign_ins.open == {3}
    assert sign_ins.subjects == {}
    assert 'data-user="3" data-tie="allowed"' in admin.get("/admin/sign-ins").text


def test_one_s_account_says_how_one_gets_in(site: Site) -> None:
    sign_ins, ann = site.house.accounts.sign_ins, site.visitor("ann")
    assert "You log in here with" not in ann.get("/account").text
    sign_ins.subjects, sign_ins.passwordless = {2: "s"}, {2}
    page = ann.get("/account").text
    assert "You log in here with SSO." in page
    assert "This account has no password here" in page
    assert "This account has no password here" in ann.get("/password").text


@pytest.mark.parametrize(
    ("sought", "names"),
    [("", {"admin", "ann", "bob", "new"}), ("AN", {"ann"}), ("subj-7", {"bob"}), ("<b>", set())],
)
def test_the_admins_table_can_be_searched(site: Site, sought: str, names: set[str]) -> None:
    site.house.accounts.sign_ins.subjects[site.house.bob.id] = "subj-7"
    page = site.visitor("admin").get(f"/admin/sign-ins?q={quote(sought)}")
    assert set(re.findall(r'<th scope="row"[^>]*>([^<]+)<', page.text)) == names
    assert "<b>" not in page.text
