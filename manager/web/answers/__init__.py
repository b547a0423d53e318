"""What the API gives, as models: the one source of its description and of the tests that check it.

The routes build plain dictionaries; a model names every field of one, and the tests compare. A
new field of a view needs its line here, or ``tests/unit/test_web_openapi.py`` says which one is
missing.
``*_at``, ``since`` and ``until`` are UTC epoch seconds, memory is in bytes.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from manager import errors

OTHER_CODES = ("csrf", "method_not_allowed", "too_large", "too_many_connections")
"""Codes of refusals that no error of ours stands behind."""


class Answer(BaseModel):
    """The root of all answers: every field is there, and no other."""

    model_config = ConfigDict(extra="forbid")


def codes() -> list[str]:
    """List every code that a refusal may have."""
    kinds = [errors.ManagerError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return sorted({*(kind.code for kind in kinds), *OTHER_CODES})


class Problem(Answer):
    """Why something was refused, or a fault.

    ``code`` is stable and says the kind; ``key`` is the code, often with a finer reason behind a
    dot. ``message`` is a sentence for people in the language that ``Accept-Language`` asks for.
    ``field`` names the field or parameter that is wrong, where it is one.
    """

    code: str = Field(json_schema_extra={"enum": list(codes())})
    key: str
    message: str
    # Left out rather than null, as it was before there was one.
    field: str = ""


class Refusal(Answer):
    """The body of every answer from 400 on."""

    error: Problem


class Log(Answer):
    """The end of what an instance printed, empty where there is nothing; ``tag`` is for this text.

    Null for who already has it, and said so by its tag (``known``).
    """

    log: str | None
    tag: str
