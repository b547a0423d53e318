"""Accounts as a CSV table: written for a spreadsheet, read back and checked whole before any write.

Columns: ``username``, ``is_admin``, ``assigned_port`` (empty: any free card), ``is_active``, and
when read also ``password``. Hashes never leave the database this way.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from manager.accounts import UNCHANGED, Accounts, Unchanged
from manager.credentials import check_password, check_username
from manager.errors import BadInput
from manager.people import Newcomer
from manager.records import User

COLUMNS = ("username", "is_admin", "assigned_port", "is_active")
PASSWORD = "password"  # noqa: S105 - a column's name
DELIMITERS = (",", ";", "\t")
"""Of CSV as most programs write it, as some countries' spreadsheets do, and of what is pasted."""

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Row:
    """One line of the table; what is None or ``UNCHANGED`` was not said."""

    line: int
    username: str
    password: str | None
    is_admin: bool | None
    assigned_port: int | Unchanged | None
    is_active: bool | None


@dataclass(frozen=True)
class Problem:
    """What is wrong in one line of the table."""

    line: int
    error: BadInput


@dataclass(frozen=True)
class Table:
    """The rows that can be used, and the problems of the others and among them."""

    rows: Sequence[Row]
    problems: Sequence[Problem]


def write(users: Iterable[User]) -> str:
    """Give the accounts as CSV, without passwords or their hashes."""
    output = io.StringIO()
    table = csv.writer(output)
    table.writerow(COLUMNS)
    for user in users:
        port = "" if user.assigned_port is None else user.assigned_port
        row = (user.username, _word(user.is_admin), port, _word(user.is_active))
        table.writerow(row)
    return output.getvalue()


def _word(value: bool) -> str:
    return "true" if value else "false"


def look(text: str, server: str = "") -> Table:
    """Read a table and find all that is wrong in it by itself; never raises.

    Cells are divided by commas, or by semicolons or tabs where the first line is. ``server`` is the
    name by which visitors reach this house, which is no password.
    """
    text = text.removeprefix("\ufeff")
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=_delimiter(text))
    rows: list[Row] = []
    wrong: list[Problem] = []
    try:
        _check_columns(table.fieldnames or ())
        for line in table:
            try:
                rows.append(_row(table.line_num, line, server))
            except BadInput as error:  # noqa: PERF203 - every wrong line is to be named
                wrong.append(Problem(table.line_num, error))
    except csv.Error as error:
        said = BadInput(f"it is not CSV: {error}", reason="table_csv", why=str(error))
        wrong.append(Problem(table.line_num, said))
    except BadInput as error:
        wrong.append(Problem(1, error))
    return Table(tuple(rows), (*wrong, *_twice(rows)))


def _delimiter(text: str) -> str:
    head = text.partition("\n")[0]
    return next((sign for sign in DELIMITERS if sign in head), DELIMITERS[0])


def _twice(rows: Iterable[Row]) -> Iterator[Problem]:
    names: dict[str, int] = {}
    for row in rows:
        first = names.setdefault(row.username.casefold(), row.line)
        if first != row.line:
            said = f"{row.username} stands in line {first} already"
            error = BadInput(said, reason="table_twice", username=row.username, first=first)
            yield Problem(row.line, error)


def read(text: str, server: str = "") -> Sequence[Row]:
    """Read a table, as ``look`` does.

    Raises:
        BadInput: names every line that cannot be used, and why.
    """
    table = look(text, server)
    _refuse(table.problems)
    return table.rows


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise BadInput("\n".join(f"line {one.line}: {one.error}" for one in problems))


def _check_columns(names: Iterable[str]) -> None:
    allowed = (*COLUMNS, PASSWORD)
    unknown = [name for name in names if name not in allowed]
    if unknown or "username" not in names:
        raise BadInput(
            "the first line names the columns: username, and any of "
            f"{', '.join(allowed[1:])}" + (f"; not {', '.join(unknown)}" if unknown else ""),
            reason="table_head",
            columns=", ".join(allowed[1:]),
        )


def _row(number: int, line: dict[str, str | None], server: str) -> Row:
    # Cells beyond the columns come under None, missing ones as None.
    if None in line or None in line.values():
        raise BadInput("it has not as many cells as there are columns", reason="table_cells")
    cells = {name: (cell or "").strip() for name, cell in line.items()}
    username = check_username(cells["username"])
    password = (line.get(PASSWORD) or "") or None
    if password is not None:
        check_password(username, password, server)
    return Row(
        number,
        username,
        password,
        _truth(cells, "is_admin"),
        _port(cells["assigned_port"]) if "assigned_port" in cells else UNCHANGED,
        _truth(cells, "is_active"),
    )


def _truth(cells: dict[str, str], name: str) -> bool | None:
    cell = cells.get(name, "")
    if cell and cell.lower() not in _WORDS:
        raise BadInput(
            f"{name} is true or false, not {cell}", reason="table_truth", column=name, cell=cell
        )
    return _WORDS.get(cell.lower())


def _port(cell: str) -> int | None:
    if cell and not (cell.isascii() and cell.isdigit()):
        raise BadInput(
            f"assigned_port is a number or empty, not {cell}", reason="table_number", cell=cell
        )
    return int(cell) if cell else None


def newcomers(rows: Iterable[Row]) -> list[Newcomer]:
    """Give the accounts that a table's rows are to become."""
    return [
        Newcomer(
            row.username,
            row.password,
            bool(row.is_admin),
            None if isinstance(row.assigned_port, Unchanged) else row.assigned_port,
            row.is_active is not False,
        )
        for row in rows
    ]


def bring_in(
    accounts: Accounts, actor: User, rows: Iterable[Row], ports: Iterable[int], *, update: bool
) -> Iterator[tuple[str, str]]:
    """Make the accounts of a table, all or none; with ``update`` change those that are there.

    Nothing is written before the whole table fits what is there.

    Yields:
        Name and password of each account whose password was made here.

    Raises:
        BadInput: names every line that does not fit.
        Conflict: the last admin would go.
    """
    rows = list(rows)
    users = accounts.users()
    _refuse([*misfits(rows, users, ports, update=update)])
    return _written(accounts, actor, rows, {user.username: user for user in users})


def misfits(
    rows: Iterable[Row], users: Iterable[User], ports: Iterable[int], *, update: bool = False
) -> Iterator[Problem]:
    """Say what of a table does not fit the accounts and ports that there are."""
    present = {user.username.casefold(): user for user in users}
    ports = frozenset(ports)
    for row in rows:
        there, name = present.get(row.username.casefold()), row.username
        if there is not None and there.username != name:
            said, other = f"{name} is too like {there.username}", there.username
            error = BadInput(said, reason="table_like", username=name, other=other)
            yield Problem(row.line, error)
        elif there is not None and not update:
            said = f"{name} is there already (--update changes accounts)"
            yield Problem(row.line, BadInput(said, reason="table_there", username=name))
        elif there is not None and row.password is not None:
            said = f"{name} keeps its password; use users reset-password"
            yield Problem(row.line, BadInput(said, reason="table_password", username=name))
        port = row.assigned_port
        if isinstance(port, int) and port not in ports:
            error = BadInput(f"there is no port {port}", reason="table_port", port=port)
            yield Problem(row.line, error)


def _written(
    accounts: Accounts, actor: User, rows: Sequence[Row], present: Mapping[str, User]
) -> Iterator[tuple[str, str]]:
    new = [row for row in rows if row.username not in present]
    for added in accounts.people.create(actor, newcomers(new)):
        if added.password is not None:
            yield added.user.username, added.password
    for row in rows:
        if row.username in present:
            accounts.update_user(
                actor,
                present[row.username].id,
                is_active=row.is_active,
                is_admin=row.is_admin,
                assigned_port=row.assigned_port,
            )
