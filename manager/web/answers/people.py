"""What admins are told of many accounts at once."""

from __future__ import annotations

from manager.web.answers import Answer
from manager.web.answers.instances import Account


class Person(Answer):
    """What is known of a user beside his account: seconds of the last 30 days in ``held_seconds``.

    ``last_login_at`` is null for who never logged in.
    """

    user_id: int
    last_login_at: float | None
    held_seconds: int


class People(Answer):
    """All of them."""

    people: list[Person]


class AccountsOnly(Answer):
    """The accounts that were changed."""

    users: list[Account]


class Row(Answer):
    """A line of the table, without the password that may stand in it."""

    line: int
    username: str
    is_admin: bool
    is_active: bool
    assigned_port: int | None
    has_password: bool


class LineProblem(Answer):
    """What is wrong in a line, in the language that ``Accept-Language`` asks for."""

    line: int
    text: str


class Made(Answer):
    """A new account; ``password`` is the one that was made for it, shown this once, or null."""

    username: str
    password: str | None


class TableSeen(Answer):
    """What is in the table; ``problems`` are the first of ``problem_count``.

    ``made`` is null where it was only looked at.
    """

    rows: list[Row]
    problems: list[LineProblem]
    problem_count: int
    made: list[Made] | None
