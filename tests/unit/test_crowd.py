"""Who counts as one visitor, how many he may be, and what he is told who is one too many."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from manager.crowd import Crowd, subscriber
from manager.web.i18n import catalogue
from manager.web.turnstile import Environ, Turnstile


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "", True),
        ("nonsense", "", False),
    ],
)
def test_who_counts_as_one(one: str, other: str, same: bool) -> None:
    assert (subscriber(one) == subscriber(other)) == same


def test_each_has_his_own_number_and_gets_places_back(caplog: pytest.LogCaptureFixture) -> None:
    crowd = Crowd(2, "connections")
    with caplog.at_level(logging.WARNING):
        assert [crowd.enter("192.0.2.1") for _ in range(4)] == [True, True, False, False]
    (line,) = caplog.messages
    assert line.startswith("192.0.2.1 has 2 connections at once")
    assert crowd.enter("192.0.2.2")
    crowd.leave("192.0.2.1")
    assert crowd.enter("192.0.2.1")
    assert not crowd.enter("192.0.2.1")


def test_without_a_limit_everybody_gets_in() -> None:
    crowd = Crowd(0, "connections")
    assert all(crowd.enter("192.0.2.1") for _ in range(5000))


class Door:
    """A turnstile for two, before an application that answers when its answer is read."""

    def __init__(self) -> None:
        self.fails = False
        self.live: dict[str, Environ] = {}
        socketio: Any = SimpleNamespace(server=SimpleNamespace(environ=self.live))
        self.turnstile = Turnstile(self.app, 2, socketio)

    def app(self, _environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        if self.fails:
            raise RuntimeError
        start("200 OK", [])
        return iter([b"well"])

    def ask(self, path: str = "/", query: str = "") -> tuple[str, Any]:
        told: list[str] = []
        environ = {"REMOTE_ADDR": "192.0.2.1", "PATH_INFO": path, "QUERY_STRING": query}
        answer = self.turnstile(environ, lambda status, _headers: told.append(status))
        return told[0], answer


def test_a_request_counts_until_its_answer_is_out() -> None:
    door = Door()
    (_, first), (_, second) = door.ask(), door.ask()
    status, body = door.ask("/admin")
    assert status.startswith("503")
    assert "Too many connections from this address. / 来自此地址的连接过多。" in body[0].decode()
    status, body = door.ask("/api/user/state")
    assert status.startswith("503")
    assert json.loads(body[0])["error"] == {
        "code": "too_many_connections",
        "key": "too_many_connections",
        "message": catalogue("en")["error.too_many_connections"],
    }
    assert list(first) == [b"well"]
    first.close()
    first.close()
    assert door.ask()[0] == "200 OK"
    assert door.ask()[0].startswith("503")
    second.close()


def test_a_request_that_fails_does_not_count_for_ever() -> None:
    door = Door()
    door.fails = True
    for _ in range(3):
        with pytest.raises(RuntimeError):
            door.ask()
    door.fails = False
    assert door.ask()[0] == "200 OK"


def test_live_connections_count_where_they_begin() -> None:
    door = Door()
    door.live.update({n: {"REMOTE_ADDR": "192.0.2.1"} for n in "ab"})
    assert door.ask("/socket.io/", "EIO=4")[0].startswith("503")
    assert door.ask("/socket.io/", "EIO=4&sid=a")[0] == "200 OK"
    assert door.ask("/")[0] == "200 OK"
