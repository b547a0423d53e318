"""Who gets through a gate, by which door, and what arrives behind it. Real Caddy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from manager.gate.gate import Gate, new_token
from manager.ports import PortRow
from manager.records import GUARD_HEADER
from tests.support.gate import (
    OPEN,
    Answer,
    Upstream,
    knock,
    knock_websocket,
    open_websocket,
    opening,
    project,
    running_gate,
    upstream,
)

pytestmark = pytest.mark.integration

PAGE, ASSET, API = "/", "/assets/index-a1b2.js", "/api/queue"
Headers = list[tuple[str, str]]
SECRET = new_token()
SHOWN = GUARD_HEADER.lower()


@dataclass
class House:
    """Two open gates, A and B, and a third that stays closed."""

    gate: Gate
    a: PortRow
    b: PortRow
    closed: PortRow
    token_a: str
    token_b: str
    behind_a: Upstream
    manager_port: int
    scheme: str

    @property
    def name(self) -> str:
        return f"token_{self.a.port}"

    def cookie(self, value: str | None = None, name: str | None = None) -> Headers:
        text = f"{name or self.name}={self.token_a if value is None else value}"
        return [("Cookie", text)]

    @property
    def secure(self) -> str:
        return "; Secure" if self.scheme == "https" else ""

    def bearer(self) -> Headers:
        return [("Authorization", f"Bearer {self.token_a}")]


@pytest.fixture(scope="module", params=["off", "internal"], ids=["http", "https"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    of = project(tmp_path_factory.mktemp("house"), rows=3, TLS=request.param)
    scheme = "http" if request.param == "off" else "https"
    a, b, closed = of.ports
    with running_gate(of) as gate, upstream(a.port) as behind:
        tokens = {a.port: new_token(), b.port: new_token()}
        openings = {
            a.port: opening(a.port, tokens[a.port], SECRET),
            b.port: opening(b.port, tokens[b.port]),
        }
        assert gate.apply(openings) == {}
        yield House(
            gate, a, b, closed, tokens[a.port], tokens[b.port], behind, of.manager_port, scheme
        )


@pytest.fixture(autouse=True)
def fresh(house: House) -> Iterator[None]:
    house.behind_a.seen.clear()
    yield
    house.behind_a.extra_headers.clear()


def every_status(port: int, query: str = "", headers: Headers | None = None) -> set[int]:
    """Try a page, an asset, the API both ways and a websocket."""
    statuses = {knock(port, path + query, headers).status for path in (PAGE, ASSET, API)}
    statuses.add(knock(port, "/api/prompt" + query, headers, "POST", b"{}").status)
    statuses.add(knock(port, "/view" + query, headers, "HEAD").status)
    statuses.add(knock_websocket(port, "/ws" + query, headers))
    return statuses


def test_link_gives_a_cookie_and_a_clean_address(house: House) -> None:
    answer = knock(house.a.workspace_port, f"/?{house.name}={house.token_a}")
    assert answer.status == 302
    assert answer.headers["location"] == "/"
    assert (
        answer.headers["set-cookie"]
        == f"{house.name}={house.token_a}; Path=/; HttpOnly; SameSite=Lax{house.secure}"
    )
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert house.behind_a.seen == []


def cookies_of(answer: Answer) -> dict[str, str]:
    """Give the cookies that an answer sets: name to value."""
    lines = [value for name, value in answer.raw if name.lower() == "set-cookie"]
    return dict(line.partition(";")[0].split("=", 1) for line in lines)


def test_a_browser_that_was_last_somebody_elses_is_cleared_first(house: House) -> None:
    port, link = house.a.workspace_port, f"/?{house.name}={house.token_a}"
    page, entry, owner = ("Accept", "text/html"), f"entry_{house.a.port}", f"owner_{house.a.port}"
    for known in ([], [("Cookie", f"{owner}=")], [("Cookie", f"{owner}={'0' * 32}")]):
        answer = knock(port, link, [page, *known])
        assert (answer.status, answer.headers["location"]) == (302, "/.gate/entry")
        assert cookies_of(answer) == {entry: house.token_a}, "not yet the key to the workspace"
    inside = ("Cookie", f"{entry}={house.token_a}")
    asked = knock(port, "/.gate/entry", [page, inside])
    assert asked.status == 200
    assert asked.headers["cache-control"] == "no-store"
    assert "set-cookie" not in asked.headers
    let_in = knock(port, "/.gate/in", [page, inside])
    assert (let_in.status, let_in.headers["location"]) == (302, "/")
    given = cookies_of(let_in)
    assert given[house.name] == house.token_a
    assert given[entry] == ""
    assert let_in.headers["clear-site-data"] == '"cache", "storage"'
    again = knock(port, link, [page, ("Cookie", f"{owner}={given[owner]}")])
    assert (again.status, again.headers["location"]) == (302, "/")
    assert cookies_of(again) == {house.name: house.token_a}
    assert house.behind_a.seen == []


def test_the_way_in_is_for_who_has_the_token_only(house: House) -> None:
    port, entry = house.a.workspace_port, f"entry_{house.a.port}"
    wrong: list[Headers] = [
        [],
        [("Cookie", f"{entry}=")],
        [("Cookie", f"{entry}={house.token_b}")],
        [("Cookie", f"entry_{house.b.port}={house.token_a}")],
        house.cookie(),
    ]
    for headers in wrong:
        for path in ("/.gate/entry", "/.gate/in", "/.gate/left", "/.gate/../.gate/in"):
            answer = knock(port, path, headers)
            assert answer.status == 403, (path, headers)
            assert "set-cookie" not in answer.headers
    inside = [("Cookie", f"{entry}={house.token_a}")]
    assert every_status(port, headers=inside) == {403}, "the key to the entry opens nothing else"
    assert knock(port, "/.gate/in", inside, "POST").status == 403
    assert house.behind_a.seen == []


def test_no_service_worker_gets_its_script(house: House) -> None:
    headers = [*house.cookie(), ("Service-Worker", "script")]
    assert knock(house.a.workspace_port, "/worker.js", headers).status == 403
    assert house.behind_a.seen == []


def test_what_a_workspace_shows_is_asked_for_again(house: House) -> None:
    answer = knock(house.a.workspace_port, "/view?filename=a.png", house.cookie())
    assert answer.headers["cache-control"] == "no-cache"
    house.behind_a.extra_headers.append(("Cache-Control", "max-age=60"))
    kept = knock(house.a.workspace_port, "/view?filename=a.png", house.cookie())
    assert kept.headers["cache-control"] == "max-age=60"


def test_each_request_is_numbered_for_the_instance_and_its_visitor(house: House) -> None:
    forged = [*house.bearer(), ("X-Request-Id", "forged by the visitor")]
    answers = [knock(house.a.external_port, API, forged) for _ in range(2)]
    numbers = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(numbers)) == 2
    assert [told["headers"]["x-request-id"] for told in house.behind_a.seen[-2:]] == numbers


def test_cookie_opens_page_asset_api_and_websocket(house: House) -> None:
    assert every_status(house.a.workspace_port, headers=house.cookie()) == {200, OPEN}


def test_cookie_among_others_still_opens(house: House) -> None:
    several = [("Cookie", f"session=x; {house.name}={house.token_a}; token_{house.b.port}=y")]
    assert every_status(house.a.workspace_port, headers=several) == {200, OPEN}


def test_scripts_enter_by_query_or_bearer(house: House) -> None:
    query = f"?{house.name}={house.token_a}"
    assert every_status(house.a.external_port, query) == {200, OPEN}
    assert every_status(house.a.external_port, headers=house.bearer()) == {200, OPEN}


def _wrong_queries(house: House) -> dict[str, str]:
    name, token, other = house.name, house.token_a, f"token_{house.b.port}"
    encoded_value = f"%{ord(token[0]):02X}{token[1:]}"
    return {
        "nothing": "",
        "wrong": f"?{name}={'A' * 32}",
        "empty": f"?{name}=",
        "bare name": f"?{name}",
        "too long": f"?{name}={token}x",
        "too short": f"?{name}={token[:-1]}",
        "other case": f"?{name}={token.swapcase()}",
        "doubled": f"?{name}={token}&{name}={token}",
        "wrong then right": f"?{name}=x&{name}={token}",
        "right then wrong": f"?{name}={token}&{name}=x",
        "other gate's token": f"?{name}={house.token_b}",
        "other gate's link": f"?{other}={house.token_b}",
        "other name": f"?{other}={token}",
        "longer name": f"?x{name}={token}",
        "encoded value": f"?{name}={encoded_value}",
        "encoded name": f"?%74{name[1:]}={token}",
        "encoded underscore": f"?{name.replace('_', '%5F')}={token}",
        "semicolon": f"?a=1;{name}={token}",
        "known default": f"?{name}=123456789",
    }


def _wrong_headers(house: House) -> dict[str, Headers]:
    name, token = house.name, house.token_a
    good, cookie = f"{name}={token}", house.cookie
    return {
        "wrong": cookie("A" * 32),
        "empty": cookie(""),
        "too long": cookie(token + "x"),
        "too short": cookie(token[:-1]),
        "other case": cookie(token.swapcase()),
        "other gate's token": cookie(house.token_b),
        "other gate's cookie": cookie(house.token_b, f"token_{house.b.port}"),
        "other name": cookie(name=f"token_{house.b.port}"),
        "longer name": cookie(name="x" + name),
        "inside another": [("Cookie", f"a={good}")],
        "doubled": [("Cookie", f"{good}; {good}")],
        "doubled in two headers": [("Cookie", good), ("Cookie", good)],
        "right then wrong": [("Cookie", f"{good}; {name}=x")],
        "wrong then right": [("Cookie", f"{name}=x; {good}")],
        "doubled in another case": [("Cookie", f"{good}; {name.upper()}=x")],
        "encoded value": cookie(f"%{ord(token[0]):02X}{token[1:]}"),
        "encoded name": cookie(name=f"%74{name[1:]}"),
        "known default": cookie("123456789"),
        "wrong bearer": [("Authorization", f"Bearer {'A' * 32}")],
        "empty bearer": [("Authorization", "Bearer ")],
        "other gate's bearer": [("Authorization", f"Bearer {house.token_b}")],
        "doubled bearer": house.bearer() * 2,
        "basic": [("Authorization", f"Basic {token}")],
    }


def test_no_wrong_query_enters_by_either_door(house: House) -> None:
    for what, query in _wrong_queries(house).items():
        for port in (house.a.workspace_port, house.a.external_port):
            assert every_status(port, query) == {403}, what
    assert house.behind_a.seen == []


def test_no_wrong_cookie_or_bearer_enters_by_either_door(house: House) -> None:
    for what, headers in _wrong_headers(house).items():
        for port in (house.a.workspace_port, house.a.external_port):
            assert every_status(port, headers=headers) == {403}, what
    assert house.behind_a.seen == []


def test_each_door_takes_its_own_key_only(house: House) -> None:
    assert every_status(house.a.external_port, headers=house.cookie()) == {403}
    assert every_status(house.a.workspace_port, headers=house.bearer()) == {403}


def test_link_opens_the_front_page_only_and_alone(house: House) -> None:
    link = f"{house.name}={house.token_a}"
    for path in (f"/queue?{link}", f"/?{link}&x=1", f"/?x=1&{link}", f"/?{link}#"):
        assert knock(house.a.workspace_port, path).status == 403, path
    assert knock(house.a.workspace_port, f"/?{link}", method="POST").status == 403
    # Not even together with the cookie: upstream would see the token.
    assert knock(house.a.workspace_port, f"/queue?{link}", house.cookie()).status == 403


def test_closed_gate_is_closed_for_everything(house: House) -> None:
    name = f"token_{house.closed.port}"
    for port in (house.closed.workspace_port, house.closed.external_port):
        for query in ("", f"?{name}=", f"?{name}", f"?{name}={house.token_a}"):
            assert every_status(port, query) == {403}
        assert every_status(port, headers=[("Cookie", f"{name}=")]) == {403}
        assert every_status(port, headers=[("Authorization", "Bearer ")]) == {403}


def test_page_of_another_origin_is_refused_even_with_the_cookie(house: House) -> None:
    port = house.a.workspace_port
    own = ("Origin", f"{house.scheme}://127.0.0.1:{port}")
    assert every_status(port, headers=[*house.cookie(), own]) == {200, OPEN}
    for origin in (
        "null",
        "",
        "https://evil.example",
        f"http://127.0.0.1:{house.b.workspace_port}",
        f"http://127.0.0.1:{port}.evil.example",
        "http://127.0.0.1",
        # What came by http on this port may be anybody's who is on the way.
        *([f"http://127.0.0.1:{port}"] if house.scheme == "https" else []),
    ):
        assert every_status(port, headers=[*house.cookie(), ("Origin", origin)]) == {403}, origin


SECRETS = ("cookie", "authorization", "origin", "referer", "sec-fetch-site")


def test_upstream_sees_no_key_and_nothing_of_the_visitors_other_pages(house: House) -> None:
    workspace, external = house.a.workspace_port, house.a.external_port
    link = f"{house.name}={house.token_a}"
    luggage = [
        ("Referer", f"{house.scheme}://127.0.0.1:{workspace}/?{link}"),
        ("Sec-Fetch-Site", "cross-site"),
    ]
    inside = [
        *luggage,
        ("Cookie", f"manager_session=secret; {link}"),
        ("Origin", f"{house.scheme}://127.0.0.1:{workspace}"),
    ]
    assert knock(workspace, "/a%2Fb?c=1", inside).status == 200
    open_websocket(workspace, "/ws", inside).close()
    outside = [*luggage, ("Cookie", "manager_session=secret"), ("Origin", "https://krita.example")]
    assert knock(external, "/prompt", [*outside, *house.bearer()], "POST", b"{}").status == 200
    for query in (link, f"{link}&c=1", f"c=1&{link}", f"c=1&{link}&d=2", f"x{link}&{link}"):
        assert knock(external, f"/view?{query}", outside).status == 200
        open_websocket(external, f"/ws?{query}", outside).close()
    assert len(house.behind_a.seen) == 13
    for seen in house.behind_a.seen:
        assert not [name for name in SECRETS if name in seen["headers"]]
        assert seen["headers"][SHOWN] == SECRET
        assert "manager_session" not in str(seen)
        if "x" + house.name not in seen["path"]:
            assert house.token_a not in str(seen)


OWN_HEADERS: dict[str, Headers] = {
    "none": [],
    "one": [(GUARD_HEADER, "mine")],
    "empty": [(GUARD_HEADER, "")],
    "two": [(GUARD_HEADER, "mine"), (GUARD_HEADER, SECRET)],
    "other case": [(SHOWN, "mine"), (GUARD_HEADER.upper(), "mine")],
    "underscores": [(GUARD_HEADER.replace("-", "_"), "mine")],
    "to be dropped on the way": [("Connection", GUARD_HEADER), (GUARD_HEADER, "mine")],
}


@pytest.mark.parametrize("own", OWN_HEADERS.values(), ids=OWN_HEADERS)
def test_what_a_visitor_sends_as_secret_never_arrives(house: House, own: Headers) -> None:
    inside = [*house.cookie(), *own]
    assert knock(house.a.workspace_port, "/", inside).status == 200
    assert knock(house.a.external_port, "/", [*house.bearer(), *own]).status == 200
    open_websocket(house.a.workspace_port, "/ws", house.cookie()).close()
    for seen in house.behind_a.seen:
        assert seen["names"].count(SHOWN) == 1
        assert seen["headers"][SHOWN] == SECRET
    with upstream(house.b.port) as behind:
        cookie = house.cookie(house.token_b, f"token_{house.b.port}")
        assert knock(house.b.workspace_port, "/", [*cookie, *own]).status == 200
        assert SHOWN not in behind.seen[0]["names"]


def test_path_and_query_arrive_as_sent(house: House) -> None:
    knock(house.a.workspace_port, "/userdata/a%2Fb?x=%20&y;z", house.cookie())
    link = f"{house.name}={house.token_a}"
    for query in (link, f"{link}&a=1", f"a=1&{link}", f"a=1&{link}&b=%2F"):
        knock(house.a.external_port, f"/v?{query}")
    assert [seen["path"] for seen in house.behind_a.seen] == [
        "/userdata/a%2Fb?x=%20&y;z",
        "/v",
        "/v?a=1",
        "/v?a=1",
        "/v?a=1&b=%2F",
    ]


def test_script_that_shows_both_keys_leaves_both_at_the_gate(house: House) -> None:
    port, name = house.a.external_port, house.name
    assert knock(port, f"/v?{name}={house.token_a}", house.bearer()).status == 200
    assert house.behind_a.seen[0]["path"] == "/v"
    assert "authorization" not in house.behind_a.seen[0]["headers"]
    assert knock(port, f"/v?{name}=x", house.bearer()).status == 403


def test_upstream_cannot_plant_cookies_or_rules_in_the_browser(house: House) -> None:
    dropped = ("Set-Cookie", "Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc")
    house.behind_a.extra_headers += [(name, "x=1") for name in (*dropped, "ETag")]
    for port, key in (
        (house.a.workspace_port, house.cookie()),
        (house.a.external_port, house.bearer()),
    ):
        answer = knock(port, "/", key)
        assert answer.status == 200
        assert answer.headers["etag"] == "x=1"
        assert [value for _, value in answer.raw].count("x=1") == 1
        ours = ["max-age=3600"] if house.scheme == "https" else []
        told = [value for name, value in answer.raw if name in dropped]
        assert told == ours


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "XYZ"])
def test_other_methods_are_refused(house: House, method: str) -> None:
    for port, key in (
        (house.a.workspace_port, house.cookie()),
        (house.a.external_port, house.bearer()),
    ):
        assert knock(port, "/", key, method).status == 405
        # Who shows no key learns nothing, not even whether the gate is open.
        assert knock(port, "/", method=method).status == 403
    assert knock(house.closed.workspace_port, "/", method=method).status == 403
    assert house.behind_a.seen == []


def test_secure_cookie_where_https_is_in_front(tmp_path: Path) -> None:
    of = project(tmp_path, rows=1, COOKIE_SECURE="true")
    row, token = of.ports[0], new_token()
    with running_gate(of) as gate:
        gate.apply({row.port: opening(row.port, token)})
        answer = knock(row.workspace_port, f"/?token_{row.port}={token}")
        assert answer.headers["set-cookie"].endswith("; SameSite=Lax; Secure")
