"""What the API accepts as bodies. Strict: no unknown field, no guessed type."""

from __future__ import annotations

from typing import Annotated, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from manager.errors import BadInput

Line = Annotated[str, StringConstraints(max_length=1024)]
"""A name or a password; ``accounts`` says what is allowed in it."""


class Body(BaseModel):
    """The root of all bodies."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class NewPassword(Body):
    """A change of one's own password."""

    old_password: Line
    new_password: Line


class NewUser(Body):
    """A new account. ``assigned_port`` None: any free card."""

    username: Line
    password: Line
    is_admin: bool = False
    assigned_port: int | None = None


class UserChange(Body):
    """A change of an account; what is left out stays as it is."""

    is_active: bool | None = None
    is_admin: bool | None = None
    assigned_port: int | None = None


B = TypeVar("B", bound=Body)


def read(kind: type[B]) -> B:
    """Read the request's JSON body.

    Raises:
        BadInput: it is not JSON, or a field is missing, unknown or of the wrong kind.
    """
    try:
        return kind.model_validate_json(request.get_data())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid" or not first["loc"]:
            raise BadInput("the body is not a JSON object", reason="json") from None
        field = ".".join(str(part) for part in first["loc"])[:64]
        raise BadInput(f"{field}: {first['msg']}", reason="field", field=field) from None
