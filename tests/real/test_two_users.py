"""Two people at once, each in a real ComfyUI, through the real gate, in two real browsers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser

from tests.support.real_comfyui import Install
from tests.support.real_house import PNG_HEAD, Admin, Person, graph, port_state, real_house
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.real_comfyui,
    pytest.mark.browser,
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, comfyui: Install) -> Iterator[ManagerProcess]:
    with real_house(tmp_path_factory.mktemp("two"), comfyui, rows=2) as made:
        yield made


@pytest.fixture(scope="module")
def pair(house: ManagerProcess, browser: Browser) -> Iterator[tuple[Person, Person]]:
    """Alice and Bob, both started at the same time, both with ComfyUI's page open."""
    admin = Admin(house)
    for name in ("alice", "bob"):
        admin.create_user(name)
    admin.close()
    alice = Person.arrives(browser, house, "alice")
    bob = Person.arrives(browser, house, "bob")
    alice.click_start()
    bob.click_start()
    alice.open_workspace()
    bob.open_workspace()
    yield alice, bob
    alice.leaves()
    bob.leaves()


def test_each_sees_the_own_picture_arrive_while_the_other_works(
    pair: tuple[Person, Person],
) -> None:
    alice, bob = pair
    assert alice.port != bob.port

    asked = [
        alice.begin_drawing(graph("of-alice", 0x112233, sleep_s=3)),
        bob.begin_drawing(graph("of-bob", 0x445566, sleep_s=3)),
    ]
    drawn = [alice.finished_drawing(), bob.finished_drawing()]

    assert [d["arrived"] for d in drawn] == asked
    assert [d["status"] for d in drawn] == [200, 200]
    assert [d["head"] for d in drawn] == [PNG_HEAD, PNG_HEAD]
    assert drawn[0]["image"]["filename"].startswith("of-alice")
    assert drawn[1]["image"]["filename"].startswith("of-bob")


def test_pictures_land_in_the_own_directories_alone(
    pair: tuple[Person, Person], comfyui: Install
) -> None:
    alice, bob = pair
    for person in pair:
        person.begin_drawing(graph(f"where-{person.name}", 0x778899))
        person.finished_drawing()

    assert list(alice.folder.glob("output/where-alice*"))
    assert list(bob.folder.glob("output/where-bob*"))
    assert not list(alice.folder.rglob("*bob*"))
    assert not list(bob.folder.rglob("*alice*"))
    assert not list((comfyui.source / "output").glob("where-*"))


def test_the_other_s_workspace_is_closed_without_its_link(pair: tuple[Person, Person]) -> None:
    alice, bob = pair
    for owner, other in ((alice, bob), (bob, alice)):
        for path in ("/", "/api/queue", "/api/view?filename=x.png", "/ws"):
            assert other.goto(f"http://127.0.0.1:{owner.workspace_port}{path}") == 403
        assert other.goto(f"http://127.0.0.1:{owner.external_port}/api/queue") == 403


def test_a_token_opens_its_own_port_alone(pair: tuple[Person, Person]) -> None:
    alice, bob = pair
    wrong = [
        f"http://127.0.0.1:{bob.workspace_port}/?token_{bob.port}={alice.token}",
        f"http://127.0.0.1:{bob.workspace_port}/?token_{alice.port}={alice.token}",
        f"http://127.0.0.1:{bob.external_port}/queue?token_{bob.port}={alice.token}",
    ]
    assert [alice.goto(url) for url in wrong] == [403, 403, 403]
    right = f"http://127.0.0.1:{bob.external_port}/queue?token_{bob.port}={bob.token}"
    assert requests.get(right, timeout=10).json() == {"queue_running": [], "queue_pending": []}


def test_a_cookie_opens_its_own_port_alone(pair: tuple[Person, Person]) -> None:
    alice, bob = pair
    cookies = alice.context.cookies(f"http://127.0.0.1:{alice.workspace_port}/")
    sent = {c["name"]: c["value"] for c in cookies if c["name"].startswith("token_")}
    assert list(sent) == [f"token_{alice.port}"]

    for renamed in (sent, {f"token_{bob.port}": alice.token}):
        answer = requests.get(
            f"http://127.0.0.1:{bob.workspace_port}/api/queue", cookies=renamed, timeout=10
        )
        assert answer.status_code == 403
    own = f"http://127.0.0.1:{alice.workspace_port}/api/queue"
    assert requests.get(own, cookies=sent, timeout=10).status_code == 200


def test_comfyui_s_page_calls_nobody_outside_and_reports_no_error(
    pair: tuple[Person, Person],
) -> None:
    alice, _ = pair
    hosts: list[str] = []
    refused: list[str] = []
    alice.desk.on("request", lambda request: hosts.append(request.url.split("/")[2]))
    alice.desk.on(
        "response", lambda r: refused.append(r.url) if r.status in (401, 403, 502) else None
    )

    alice.desk.reload()
    alice.desk.wait_for_function("() => window.app?.vueAppReady && window.app.api.clientId")

    assert set(hosts) == {f"127.0.0.1:{alice.workspace_port}"}
    assert refused == []


def test_one_stops_and_the_other_works_on(
    pair: tuple[Person, Person], house: ManagerProcess
) -> None:
    alice, bob = pair
    bob.desk.evaluate(
        "() => { window.losses = 0; "
        "window.app.api.addEventListener('reconnecting', () => window.losses++); }"
    )

    alice.page.get_by_role("button", name="Stop").click()
    alice.page.get_by_role("button", name="Yes, stop it").click()
    alice.page.get_by_role("button", name="Start ComfyUI").wait_for()

    assert alice.goto(alice.link) == 403
    assert port_state(house, alice.port) == "idle"
    assert port_state(house, bob.port) == "running"
    bob.begin_drawing(graph("after", 0xABCDEF))
    assert bob.finished_drawing()["status"] == 200
    assert bob.desk.evaluate("() => window.losses") == 0
    wait_until(lambda: alice.goto(alice.link) == 403, 5, "the old link to stay dead")
