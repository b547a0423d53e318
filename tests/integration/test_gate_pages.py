"""What a gate says to people who may not pass, and what it says to programs. Real Caddy."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from manager.gate.gate import new_token
from manager.gate.pages import KINDS
from manager.ports import PortRow
from manager.web import i18n
from tests.support.gate import (
    Answer,
    knock,
    knock_websocket,
    opening,
    project,
    running_gate,
    upstream,
)

pytestmark = pytest.mark.integration

PERSON = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
CHINESE, ENGLISH = ("Accept-Language", "zh-CN,zh;q=0.9,en;q=0.8"), ("Accept-Language", "en-GB")
TOKEN = new_token()


class House:
    """A gate that is open, but not for us, one that is closed, and one with nobody behind it."""

    def __init__(self, rows: tuple[PortRow, ...], manager_port: int) -> None:
        self.open, self.closed, self.silent = rows
        self.manager_port = manager_port


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    of = project(tmp_path_factory.mktemp("pages"), rows=3)
    house = House(tuple(of.ports), of.manager_port)
    with running_gate(of) as gate, upstream(house.open.port):
        gate.apply({row.port: opening(row.port, TOKEN) for row in (house.open, house.silent)})
        yield house


def words(kind: str, language: str) -> tuple[str, str]:
    say = i18n.translate
    return say(language, f"gate.{kind}.title"), say(language, f"gate.{kind}.text")


def kind_of(answer: Answer) -> tuple[str, str]:
    """Tell which page it is, in which language; every word of another one is a failure."""
    text = answer.body.decode()
    found = [
        (kind, language)
        for kind in KINDS
        for language in i18n.LANGUAGES
        if words(kind, language)[0] in text
    ]
    assert len(found) == 1, text
    assert words(*found[0])[1] in text
    assert f'<html lang="{i18n.HTML_LANG[found[0][1]]}">' in text
    assert "{" not in re.sub(r"(?s)<style>.*</style>", "", text)
    return found[0]


def ask(port: int, path: str = "/", *headers: tuple[str, str]) -> Answer:
    return knock(port, path, [PERSON, *headers])


@pytest.mark.parametrize(("spoken", "language"), [(CHINESE, "zh_CN"), (ENGLISH, "en")])
def test_what_is_said_depends_on_what_the_visitor_brings(
    house: House, spoken: tuple[str, str], language: str
) -> None:
    for row in (house.open, house.closed):
        name = f"token_{row.port}"
        cookie = ("Cookie", f"a=b; {name}={'x' * 32}")
        for port in (row.workspace_port, row.external_port):
            brought = {
                ("/", ()): "closed",
                ("/", (("Cookie", "token_1=x"),)): "closed",
                ("/", (("Cookie", f"a={name}=x"),)): "closed",
                ("/", (cookie,)): "ended",
                ("/queue", (("Cookie", f"{name}=y"),)): "ended",
                (f"/?{name}=old", ()): "denied",
                (f"/x?a=1&{name}=", (cookie,)): "denied",
            }
            for (path, headers), kind in brought.items():
                answer = ask(port, path, spoken, *headers)
                assert answer.status == 403
                assert kind_of(answer) == (kind, language)


def test_a_stranger_cannot_tell_an_open_gate_from_a_closed_one(house: House) -> None:
    def seen(row: PortRow, method: str, *headers: tuple[str, str]) -> object:
        answer = knock(row.workspace_port, "/", list(headers), method)
        kept = {n: v for n, v in answer.headers.items() if n != "date"}
        return answer.status, kept, answer.body

    for method in ("GET", "POST", "OPTIONS", "TRACE", "PROPFIND"):
        for headers in ([], [PERSON], [PERSON, CHINESE], [("Authorization", "Bearer x")]):
            of_open, of_closed = (seen(r, method, *headers) for r in (house.open, house.closed))
            assert of_open == of_closed


def test_the_language_chosen_on_the_managers_pages_holds_here_too(house: House) -> None:
    port = house.closed.workspace_port
    for chosen, spoken, language in (
        ("zh_CN", ENGLISH, "zh_CN"),
        ("en", CHINESE, "en"),
        ("zh", CHINESE, "zh_CN"),
        ("<script>", ENGLISH, "en"),
    ):
        answer = ask(port, "/", spoken, ("Cookie", f"language={chosen}"))
        assert kind_of(answer) == ("closed", language)
        assert answer.headers["content-language"] == i18n.HTML_LANG[language]


NOT_A_PERSON: dict[str, list[tuple[str, str]]] = {
    "a script": [("Accept", "*/*")],
    "nothing said": [],
    "an asset": [("Accept", "image/avif,image/webp,*/*;q=0.8")],
    "a page's own request": [PERSON, ("Sec-Fetch-Mode", "cors")],
    "a websocket": [PERSON, ("Upgrade", "websocket"), ("Connection", "Upgrade")],
}


@pytest.mark.parametrize("headers", NOT_A_PERSON.values(), ids=NOT_A_PERSON)
def test_programs_get_the_short_text(house: House, headers: list[tuple[str, str]]) -> None:
    for row in (house.open, house.closed):
        cookie = ("Cookie", f"token_{row.port}=x")
        answer = knock(row.workspace_port, "/ws", [*headers, cookie])
        assert (answer.status, answer.body) == (403, b"Access denied.")
        assert knock_websocket(row.workspace_port, headers=[cookie]) == 403


def test_a_form_sent_to_a_gate_gets_the_short_text(house: House) -> None:
    answer = knock(house.closed.workspace_port, "/", [PERSON], "POST", b"a=b")
    assert (answer.status, answer.body) == (403, b"Access denied.")


def test_a_navigation_gets_the_page(house: House) -> None:
    navigation = ("Sec-Fetch-Mode", "navigate")
    assert kind_of(ask(house.closed.workspace_port, "/", navigation, ENGLISH))[0] == "closed"


def test_pages_lead_back_to_the_manager_and_may_load_nothing(house: House) -> None:
    port = house.closed.workspace_port
    answer = ask(port)
    text = answer.body.decode()
    assert f'href="//127.0.0.1:{house.manager_port}/"' in text
    assert "<script" not in text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    for host, shown in (("[::1]:9081", "[::1]"), ("gpu.example", "gpu.example")):
        named = knock(port, "/", [PERSON, ("Host", host)])
        assert f'href="//{shown}:{house.manager_port}/"' in named.body.decode()


def test_who_has_the_key_of_a_silent_workspace_gets_a_page_that_tries_again(house: House) -> None:
    port = house.silent.workspace_port
    cookie = ("Cookie", f"token_{house.silent.port}={TOKEN}")
    for spoken, language in ((CHINESE, "zh_CN"), (ENGLISH, "en")):
        page = ask(port, "/", cookie, spoken)
        assert page.status == 502
        assert kind_of(page) == ("silent", language)
        assert page.headers["refresh"] == page.headers["retry-after"] == "3"
        assert "'sha256-" in page.headers["content-security-policy"]
    api = knock(port, "/queue", [cookie])
    assert api.status == 502
    assert api.headers["retry-after"] == "3"
    assert "refresh" not in api.headers
    assert api.json()["retry_after"] == 3
    assert knock_websocket(port, headers=[cookie]) == 502
