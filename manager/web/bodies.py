"""What the API accepts as bodies and in the query. Strict: no unknown field, no guessed type.

``read`` and ``read_query`` are called by ``contract`` for each route; models of a few routes stand
beside these.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from flask import request
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic import ValidationError as Invalid

from manager.errors import BadInput

LARGEST = 2**53 - 1
"""Of a number: what JavaScript counts exactly, and SQLite keeps in any case."""

LATEST = 253_402_300_799
"""Of a time in UTC epoch seconds: the end of the year 9999, the last that a calendar here knows."""

Line = Annotated[str, StringConstraints(max_length=1024)]
"""A name or a password; ``accounts`` says what is allowed in it."""

Number = Annotated[int, Field(ge=0, le=LARGEST)]
Moment = Annotated[float, Field(ge=0, le=LATEST)]
PortNumber = Annotated[int, Field(ge=1, le=65_535)]


def _digits(value: object) -> object:
    """Let nothing but digits pass: Python's own numbers may have blanks, signs, underscores."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("only digits")
    return value


def _given(value: object) -> object:
    """Take an empty field of a form for none."""
    return None if value == "" else _digits(value)


def _day(value: object) -> object:
    """Take ``2026-12-31`` for a day, and nothing else; an empty field of a form for none."""
    if isinstance(value, str) and value:
        # Only its plain form: Python reads others too.
        return dt.datetime.strptime(value, "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no zone
    return None if value == "" else value


QueryNumber = Annotated[int, BeforeValidator(_digits)]
_EMPTY = {"const": ""}
MaybeNumber = Annotated[
    Annotated[int, Field(le=LARGEST)] | None,
    BeforeValidator(_given),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": LARGEST}, _EMPTY]}),
]
MaybeDay = Annotated[
    dt.date | None,
    BeforeValidator(_day),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date"}, _EMPTY]}),
]
"""An empty field of a form is none."""


class Body(BaseModel):
    """The root of all bodies."""

    model_config = ConfigDict(
        strict=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )


class Query(BaseModel):
    """The root of all queries: what stands behind the ``?``. What is unknown in one is let be."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class NewPassword(Body):
    """A change of one's own password."""

    old_password: Line
    new_password: Line


class NewUser(Body):
    """A new account. ``assigned_port`` null: any free card."""

    username: Line
    password: Line
    is_admin: bool = False
    assigned_port: PortNumber | None = None


class UserChange(Body):
    """A change of an account; what is left out stays as it is."""

    is_active: bool | None = None
    is_admin: bool | None = None
    assigned_port: PortNumber | None = None


class KeepAwake(Body):
    """An announcement of work."""

    seconds: Number


B = TypeVar("B", bound=Body)
Q = TypeVar("Q", bound=Query)


def read(kind: type[B]) -> B:
    """Read the request's JSON body.

    Raises:
        BadInput: it is not JSON or not said to be, or a field is missing, unknown or of the wrong
            kind.
    """
    if request.mimetype != "application/json":
        # A form of another site can send any text, but not this type, without being asked about.
        raise BadInput("the body is not application/json", reason="json")
    try:
        return kind.model_validate_json(request.get_data())
    except Invalid as error:
        raise _refused(error) from None


def read_query(kind: type[Q], given: Mapping[str, str] | None = None) -> Q:
    """Read the request's query; of a name that comes twice the first counts.

    Raises:
        BadInput: a field is missing or has a value that is not allowed.
    """
    values: dict[str, Any] = dict((request.args if given is None else given).items())
    try:
        return kind.model_validate(values)
    except Invalid as error:
        raise _refused(error) from None


def read_form(kind: type[B]) -> B:
    """Read the fields of a page's form that a body of this kind has.

    Raises:
        BadInput: a field is missing or has a value that is not allowed.
    """
    given = {name: text for name, text in request.form.items() if name in kind.model_fields}
    try:
        return kind.model_validate_strings(given)
    except Invalid as error:
        raise _refused(error) from None


def _refused(error: Invalid) -> BadInput:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid" or not first["loc"]:
        return BadInput("the body is not a JSON object", reason="json")
    field = ".".join(str(part) for part in first["loc"])[:64]
    return BadInput(f"{field}: {first['msg']}", reason="field", field=field)
