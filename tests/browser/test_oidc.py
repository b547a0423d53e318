"""The login through an OpenID Connect provider, as people go it: there, back, and what is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Locator, expect

from tests.support import faces, tls
from tests.support.browser import Person
from tests.support.client import ADMIN_PASSWORD, first_admin
from tests.support.oidc_provider import Provider
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser

NAME = "Lab ID"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oidc")


@pytest.fixture(scope="module")
def provider(folder: Path) -> Iterator[Provider]:
    with Provider(tls.make_pair(folder / "tls")) as running:
        yield running


@pytest.fixture(scope="module")
def manager(provider: Provider, folder: Path) -> Iterator[ManagerProcess]:
    settings = {
        **provider.settings(folder),
        "OIDC_NAME": NAME,
        "EXTERNAL_IP": "127.0.0.1",
        # As a house makes its own authority known to the system.
        "SSL_CERT_FILE": str(folder / "tls" / "cert.pem"),
    }
    with ManagerProcess(folder / "manager", rows=1, settings=settings) as running:
        yield running


def way_in(person: Person) -> Locator:
    return person.page.get_by_role("link", name=person.t("sign_in.button", name=NAME), exact=True)


def goes_through(person: Person, name: str) -> None:
    """Go from the login page through the provider's page and back."""
    way_in(person).click()
    expect(person.page).to_have_title("Provider")
    person.page.get_by_role("link", name=f"Go on as {name}").click()


def looks_right(person: Person) -> None:
    """Expect nothing for axe-core to find, and room on a phone."""
    assert faces.findings(person.page) == []
    person.page.set_viewport_size(faces.PHONE)
    person.has_no_sideways_scrolling()
    person.page.set_viewport_size(faces.DESK)


def opens(admin: Person, act: str, name: str) -> None:
    """Do something with an account on the page of who may come in."""
    admin.goes("/admin")
    admin.page.get_by_role("link", name=admin.t("sign_ins.title", name=NAME)).click()
    admin.page.get_by_label(admin.t("admin.users.choose_of", username=name), exact=True).check()
    admin.button(f"sign_ins.{act}").click()


@pytest.fixture(scope="module")
def names(manager: ManagerProcess) -> dict[str, str]:
    """Make an account for each language's person, by the languages."""
    found = {"zh_CN": "小林", "en": "ann"}
    with first_admin(manager) as admin:
        for name in found.values():
            body = {"username": name, "password": "a password handed out", "is_admin": False}
            admin.post("/api/admin/users", {**body, "assigned_port": None})
    return found


def test_a_provider_that_is_down_is_said_and_the_password_works(
    browser: Browser, provider: Provider, manager: ManagerProcess, names: dict[str, str]
) -> None:
    provider.stop()
    for language, name in names.items():
        person = Person(browser, manager, language)
        person.goes("/login")
        way_in(person).click()
        person.sees("error.unavailable.sign_in", name=NAME)
        looks_right(person)
        person.field("login.username").fill(name)
        person.field("login.password").fill("a password handed out")
        person.button("login.submit").click()
        person.headline("password.forced_title")
        person.has_no_complaints("503")
        person.context.close()
    provider.start()
    # One that did not answer is left alone for some seconds.
    wait_until(lambda: is_asked(manager), what="the provider is asked again")


def is_asked(manager: ManagerProcess) -> bool:
    """Tell whether a visitor is sent to the provider."""
    with requests.Session() as session:
        session.trust_env = False
        page = session.get(f"{manager.url}/login", timeout=60).text
        button = page.split('href="/oidc/login')[1].split('"')[0]
        url = f"{manager.url}/oidc/login{button}"
        return session.get(url, timeout=60, allow_redirects=False).status_code == 302


@pytest.mark.parametrize("language", ["zh_CN", "en"])
def test_a_person_comes_in_through_the_provider(
    browser: Browser,
    provider: Provider,
    manager: ManagerProcess,
    names: dict[str, str],
    language: str,
) -> None:
    name, subject = names[language], f"subject in {language}"
    admin = Person(browser, manager, language)
    admin.log_in("admin", ADMIN_PASSWORD)
    provider.told(person={"sub": subject, "preferred_username": name}, asks=True)

    person = Person(browser, manager, language, ignore_https_errors=True)
    # By another name of this server than the one that the provider sends people back to.
    person.page.goto(f"http://localhost:{manager.port}/login")
    way_in(person).click()
    # Only a page of that name has the cookie that has to come back, so its button counts.
    expect(person.page).to_have_url(f"{manager.url}/login")
    goes_through(person, name)
    person.sees("error.not_authenticated.sign_in_not_tied", name=NAME)
    looks_right(person)

    opens(admin, "allow", name)
    looks_right(admin)
    goes_through(person, name)
    expect(person.page).to_have_url(f"{manager.url}/")
    person.headline("user.headline.idle")
    person.goes("/account")
    person.sees("sign_in.tied", name=NAME)
    person.sees("sign_in.through", name=NAME)
    looks_right(person)

    opens(admin, "untie", name)
    expect(admin.page.locator("tr", has_text=name)).to_have_attribute("data-tie", "closed")
    person.goes("/account")
    expect(person.page).to_have_url(f"{manager.url}/login")
    admin.has_no_complaints()
    person.has_no_complaints("401")
    for one in (admin, person):
        one.context.close()
