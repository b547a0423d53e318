"""What another program writes into the database is seen, and put into force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.accounts import Accounts
from manager.errors import NotAuthenticated, StoreFailed, TooManyAttempts
from manager.outside import Outside
from manager.states import State
from manager.store import Store
from tests.support.house import House


class Scene(House):
    """A house, its look-out, and a second program beside it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.accounts = Accounts(self.settings, self.store, self.clock)
        self.ann = self.user("ann")
        self.other = Store(self.settings.database_path, 1)
        self.told: list[tuple[frozenset[int], frozenset[int]]] = []
        self.outside = Outside(
            self.store, self.accounts, self.lifecycle, lambda *what: self.told.append(what)
        )
        self.outside.look()
        self.told.clear()

    def disable(self) -> None:
        self.other.write(
            lambda t: t.users.set_rights(
                self.ann.id, is_admin=False, is_active=False, assigned_port=None
            )
        )

    def close(self) -> None:
        self.other.close()
        super().close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def test_own_writes_are_no_changes_from_outside(scene: Scene) -> None:
    scene.run(scene.ann)
    scene.store.read(lambda t: t.users.all())
    scene.outside.look()
    assert scene.told == []


def test_a_change_from_outside_is_told_once_to_everybody(scene: Scene) -> None:
    scene.disable()
    scene.outside.look()
    scene.outside.look()
    assert scene.told == [(frozenset(), frozenset({scene.ann.id}))]


def test_a_disabled_account_s_instance_is_ended(scene: Scene) -> None:
    row = scene.run(scene.ann)
    scene.outside.look()
    assert scene.row(row.port).state is State.RUNNING
    scene.disable()
    scene.outside.look()
    assert scene.row(row.port).state is State.STOPPING
    assert scene.row(row.port).stop_reason == "admin"


def test_who_was_disabled_without_a_manager_is_found_by_the_next(scene: Scene) -> None:
    row = scene.run(scene.ann)
    scene.disable()
    scene.begins()
    follower = Outside(scene.store, scene.accounts, scene.lifecycle, lambda *_what: None)
    follower.look(first=True)
    assert scene.row(row.port).state is State.STOPPING


def test_wrong_passwords_count_anew_after_a_change(scene: Scene) -> None:
    def try_it() -> None:
        scene.accounts.login("ann", "wrong", "here")

    for _ in range(6):
        with pytest.raises(NotAuthenticated):
            try_it()
    with pytest.raises(TooManyAttempts):
        try_it()
    scene.other.write(lambda t: t.users.set_password(scene.ann.id, "h", must_change=True))
    scene.outside.look()
    with pytest.raises(NotAuthenticated):
        try_it()


def test_a_database_that_fails_is_said_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing() -> bool:
        raise StoreFailed("no disk")

    monkeypatch.setattr(scene.store, "changed_outside", failing)
    scene.outside._try(first=False)
    scene.outside._try(first=False)
    assert [record.message for record in caplog.records] == [
        "looking for changes from outside: no disk"
    ]
