"""What everybody is told: made, shown, put away and ended, on a real store."""

from __future__ import annotations

import pytest

from manager.announcements import MOST, Announcements
from manager.errors import BadInput, Conflict, NotFound
from manager.records import User
from tests.support.house import House


@pytest.fixture
def root(house: House) -> User:
    return house.user("root")


@pytest.fixture
def told(house: House) -> Announcements:
    return Announcements(house.store, house.clock)


def texts(told: Announcements, user: User) -> list[str]:
    return [one.text_en or one.text_zh for one in told.of_user(user.id)]


def test_one_language_is_enough_and_warnings_come_first(
    house: House, told: Announcements, root: User
) -> None:
    told.make("warning", "Fire drill", "", None, by=root)
    told.make("notice", " ", "明天更换硬盘\r\n请保存", None, by=root)
    told.make("notice", "<b>bold</b> {{ 7*7 }}", "", None, by=root)
    ann = house.user("ann")
    shown = ["Fire drill", "<b>bold</b> {{ 7*7 }}", "明天更换硬盘\n请保存"]
    assert texts(told, ann) == shown
    assert texts(Announcements(house.store, house.clock), ann) == shown, "it outlives the manager"


def test_a_notice_is_put_away_by_each_reader_alone(
    house: House, told: Announcements, root: User
) -> None:
    ann = house.user("ann")
    told.make("notice", "Cake", "", None, by=root)
    told.make("warning", "Fire", "", None, by=root)
    warning, notice = told.all()
    told.put_away(notice.id, ann)
    told.put_away(notice.id, ann)
    assert (texts(told, ann), texts(told, root)) == (["Fire"], ["Fire", "Cake"])
    with pytest.raises(Conflict):
        told.put_away(warning.id, ann)
    with pytest.raises(NotFound):
        told.put_away(99, ann)


def test_it_ends_by_its_time_or_by_an_admin(house: House, told: Announcements, root: User) -> None:
    told.make("notice", "Cake", "", house.clock.now + 60, by=root)
    told.make("warning", "Fire", "", None, by=root)
    house.pass_time(59)
    assert texts(told, root) == ["Fire", "Cake"]
    house.pass_time(1)
    assert texts(told, root) == ["Fire"]
    told.end(told.all()[0].id, by=root)
    assert texts(told, root) == []
    with pytest.raises(NotFound):
        told.end(1 + 1, by=root)


def test_all_of_it_is_audited(house: House, told: Announcements, root: User) -> None:
    told.make("notice", "Two\nlines", "两行", None, by=root)
    told.end(told.all()[0].id, by=root)
    rows = house.store.read(
        lambda t: t.audit._connection.execute(
            "SELECT actor, action, subject, detail FROM audit ORDER BY id"
        ).fetchall()
    )
    assert [tuple(row) for row in rows] == [
        ("root", "announcement_made", "notice", "Two lines / 两行"),
        ("root", "announcement_ended", "notice", "Two lines / 两行"),
    ]


@pytest.mark.parametrize(
    ("english", "chinese"),
    [("", " \n"), ("x" * 501, ""), ("\u202etxet", ""), ("", "\x07"), ("a\u2028b", "")],
)
def test_what_is_no_plain_text_is_refused(
    told: Announcements, root: User, english: str, chinese: str
) -> None:
    with pytest.raises(BadInput):
        told.make("notice", english, chinese, None, by=root)
    assert told.all() == []


def test_an_emoji_of_several_signs_is_plain(told: Announcements, root: User) -> None:
    told.make("notice", "👩‍🔬 at work", "", None, by=root)
    assert len(told.all()) == 1


def test_what_is_over_at_once_or_has_no_level_is_refused(
    house: House, told: Announcements, root: User
) -> None:
    with pytest.raises(BadInput, match="passed"):
        told.make("notice", "x", "", house.clock.now, by=root)
    with pytest.raises(BadInput):
        told.make("shout", "x", "", None, by=root)


def test_there_are_only_so_many_at_once(house: House, told: Announcements, root: User) -> None:
    for number in range(MOST):
        told.make("notice", str(number), "", house.clock.now + 60, by=root)
    with pytest.raises(Conflict):
        told.make("notice", "one more", "", None, by=root)
    house.pass_time(60)
    told.make("notice", "one more", "", None, by=root)


def test_who_is_deleted_leaves_nothing_behind(
    house: House, told: Announcements, root: User
) -> None:
    ann = house.user("ann")
    told.make("notice", "Cake", "", None, by=root)
    told.put_away(told.all()[0].id, ann)
    house.store.write(lambda t: t.users.delete(ann.id))
    assert house.store.read(lambda t: t.announcements.put_away_by(ann.id)) == frozenset()
