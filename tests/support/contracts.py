"""Whether an answer of the API is what its route's contract says."""

from __future__ import annotations

from flask import Flask
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from manager.web import openapi
from manager.web.answers import Answer, Refusal
from manager.web.contract import Files, contract_of


def check(app: Flask, method: str, path: str, answer: TestResponse) -> None:
    """Compare status, kind and every field; routes without a contract have a test of their own."""
    place = path.partition("?")[0]
    if not place.startswith(openapi.ROOT_PATH) or method in {"HEAD", "OPTIONS"}:
        return
    try:
        rule, _ = app.url_map.bind("manager.test").match(place, method, return_rule=True)
    except HTTPException:
        return
    found = contract_of(app.view_functions[rule.endpoint])
    if found is None or answer.status_code >= 500:
        return
    what = f"{method} {rule.rule} answered {answer.status_code}"
    if answer.status_code == openapi.NOT_MODIFIED and openapi.is_kept(found):
        assert answer.data == b"", what
        return
    assert answer.status_code in {found.status, *openapi.refusals(rule, found)}, (
        f"{what}: name the error in the route's @contract(refuses=...)"
    )
    model = Refusal if answer.status_code >= 400 else found.gives
    if isinstance(model, type) and answer.mimetype == "application/json":
        _compare(what, model, answer)
    elif isinstance(model, Files):
        assert answer.mimetype in model.media_types, what


def _compare(what: str, model: type[Answer], answer: TestResponse) -> None:
    if "attachment" in answer.headers.get("Content-Disposition", ""):
        return
    try:
        model.model_validate_json(answer.data, strict=True)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise AssertionError(f"{what}, not {model.__module__}.{model.__name__}: {told}") from None
