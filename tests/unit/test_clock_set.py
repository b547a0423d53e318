"""A wall clock that is set back or forward: nobody is out, locked out, or shown what is old."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from manager.errors import TooManyAttempts
from manager.launcher import runs
from manager.throttle import PER_PAIR, Throttle
from tests.support.house import House
from tests.support.web import Site

HOUR = 3600.0


class Wall:
    """``time.time`` that can be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(time, "time", lambda: self.now)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch)


@pytest.mark.parametrize("jump", [-30 * 24 * HOUR, -1.0, 11 * HOUR, 30 * 24 * HOUR])
def test_nobody_is_out_for_the_age_of_his_cookie(tmp_path: Path, wall: Wall, jump: float) -> None:
    # How long a login lasts is for its row to say; here it lasts.
    visitor = Site(tmp_path).visitor("ann")
    wall.now += jump
    assert visitor.get("/api/user/state").status_code == 200
    # The form token was made before, by the other clock.
    assert visitor.post("/api/user/start").status_code == 202


@pytest.mark.parametrize("ahead", [-HOUR, 0.0, HOUR])
def test_a_cookie_that_was_changed_is_nobodys(tmp_path: Path, wall: Wall, ahead: float) -> None:
    visitor = Site(tmp_path).visitor("ann")
    name = "comfyui_manager_session"
    cookie = visitor.client.get_cookie(name, domain="manager.test")
    assert cookie is not None
    wall.now += ahead
    signed = cookie.value
    content, rest = signed.split(".", 1)
    for forged in (f"{content[:-1]}A.{rest}", signed[:-1], signed.rsplit(".", 1)[0], content, ""):
        visitor.client.set_cookie(name, forged, domain="manager.test")
        assert visitor.get("/api/user/state").status_code == 401, forged
    visitor.client.set_cookie(name, signed, domain="manager.test")
    assert visitor.get("/api/user/state").status_code == 200


def test_who_had_tried_too_often_waits_no_longer_than_ever(wall: Wall) -> None:
    throttle = Throttle()
    for _ in range(PER_PAIR.amount):
        throttle.attempt("ann", "here")
    with pytest.raises(TooManyAttempts) as refused:
        throttle.attempt("ann", "here")
    assert 1 <= refused.value.retry_after <= 60
    wall.now -= 5 * HOUR
    for _ in range(PER_PAIR.amount):
        throttle.attempt("ann", "here")
    with pytest.raises(TooManyAttempts) as refused:
        throttle.attempt("ann", "here")
    assert 1 <= refused.value.retry_after <= 60


def test_the_newest_session_is_the_one_that_was_written_last(tmp_path: Path) -> None:
    house = House(tmp_path)
    try:
        ann = house.user("ann")
        for code, jump in ((-6, 0.0), (-11, -5 * HOUR), (-9, 10 * HOUR)):
            house.clock.now += jump
            row = house.run(ann)
            house.launcher.end(row.launch_id or "", code)
            house.step(row.port)
            last = house.lifecycle.last_usage(ann.id)
            assert last is not None
            assert (last.launch_id, last.exit_code) == (row.launch_id, code)
        other = house.user("bob")
        assert house.lifecycle.last_usage(other.id) is None
    finally:
        house.close()


def test_ends_that_seem_to_lie_ahead_are_the_oldest(tmp_path: Path) -> None:
    now = time.time()
    for name, at in (("old", now - 9 * HOUR), ("ahead", now + HOUR), ("new", now - HOUR)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gone").touch()
        os.utime(tmp_path / name / "gone", (at, at))
    assert runs.prune(tmp_path, 2) == ["ahead"]
    assert runs.prune(tmp_path, 1) == ["old"]
