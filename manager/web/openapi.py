"""The description of the API (OpenAPI 3.1), made from the application's routes and their models.

Nothing of it is written by hand beside the code: paths and methods are the application's, bodies,
queries and answers the models', refusals the errors', rights the guard's.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

from flask import Blueprint, Flask, Response, current_app
from flask.typing import ResponseReturnValue
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import IntegerConverter, Rule

from manager import __version__, errors, runtime
from manager.web.answers import Refusal
from manager.web.contract import Contract, Files, contract, contract_of
from manager.web.errors import status_of
from manager.web.guard import ADMINS_ONLY, SAFE_METHODS, scope_of

openapi = Blueprint("openapi", __name__, url_prefix="/api")

ROOT_PATH = "/api/"
REF = "#/components/schemas/{model}"
TOKEN, SESSION, CSRF = "token", "session", "csrf"
ALWAYS = (errors.BadInput, errors.NotAuthenticated, errors.NotPermitted, errors.TooManyAttempts)
"""What any route may refuse."""

NOT_MODIFIED = 304
NOTHING_THERE, NOT_THIS_WAY, TOO_LARGE = 404, 405, 413
MEANINGS = {
    400: "The request cannot be understood; `field` says which part of it.",
    401: "Nobody is logged in, or the token is not valid.",
    403: "Not permitted: the account, the token's scope, or the page that asks.",
    404: "There is no such thing, or it is not the caller's.",
    405: "Nothing at this address is done by this method.",
    409: "It contradicts what is there.",
    413: "The body is too large.",
    429: "Too many wrong tokens or passwords from this address.",
}

Json = dict[str, Any]


@openapi.get("/openapi.json")
@contract({"type": "object", "required": ["openapi", "paths"]})
def show() -> ResponseReturnValue:
    """Give this description."""
    app = cast("Any", current_app)._get_current_object()
    # Models take a while: beside the green loop, and each time anew, as it is asked for so rarely.
    return Response(runtime.offload(text, app), mimetype="application/json")


def text(app: Flask) -> str:
    """Give the description as a JSON text."""
    return json.dumps(document(app), indent=1, ensure_ascii=False) + "\n"


def routes(app: Flask) -> Iterator[tuple[Rule, str, Callable[..., object]]]:
    """List the API's routes by path: rule, method in capitals, and function."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith(ROOT_PATH)]
    for rule in sorted(rules, key=lambda one: (one.rule, sorted(one.methods or ()))):
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method, app.view_functions[rule.endpoint]


def document(app: Flask) -> Json:
    """Describe all routes that have a contract."""
    told = [
        (rule, method, view, found)
        for rule, method, view in routes(app)
        if (found := contract_of(view)) is not None
    ]
    models = _Models([found for *_, found in told])
    paths: Json = {}
    for rule, method, view, found in told:
        operation = _operation(rule, method, view, found, models)
        paths.setdefault(path_of(rule), {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ComfyUI Multi-User Manager",
            "version": __version__,
            "description": "Start, stop and look at ComfyUI; see docs/api.md.",
        },
        "paths": paths,
        "components": {"schemas": models.schemas, "securitySchemes": _security_schemes()},
    }


class _Models:
    """All models that the routes name, as JSON Schemas."""

    def __init__(self, contracts: list[Contract]) -> None:
        wanted: dict[tuple[Any, JsonSchemaMode], None] = {(Refusal, "serialization"): None}
        for one in contracts:
            if isinstance(one.gives, type):
                wanted[one.gives, "serialization"] = None
            for taken in (one.body, one.query):
                if taken is not None:
                    wanted[taken, "validation"] = None
        refs, definitions = models_json_schema(list(wanted), ref_template=REF)
        self._refs = cast("dict[Any, Json]", refs)
        queries = {one.query.__name__ for one in contracts if one.query is not None}
        every = definitions.get("$defs", {})
        self.schemas = {name: every[name] for name in sorted(every) if name not in queries}
        self._every = every

    def ref(self, model: type, mode: JsonSchemaMode = "serialization") -> Json:
        """Point to a model."""
        return dict(self._refs[model, mode])

    def fields(self, model: type) -> Iterator[tuple[str, Json, bool]]:
        """List a model's fields: name, schema, and whether each must be there."""
        schema = self._every[model.__name__]
        for name, field in schema["properties"].items():
            yield name, _without_null(field), name in schema.get("required", ())


def _without_null(field: Json) -> Json:
    """A parameter of a query that is null is not there."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {name: value for name, value in field.items() if name not in {"anyOf", "title"}}
    if rest.get("default", "") is None:
        del rest["default"]
    return {**rest, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})}


def path_of(rule: Rule) -> str:
    """Give a rule as OpenAPI writes it."""
    return re.sub(r"<(?:[^:<>]+:)?(\w+)>", r"{\1}", rule.rule)


def _operation(
    rule: Rule, method: str, view: Callable[..., object], found: Contract, models: _Models
) -> Json:
    about = (inspect.getdoc(view) or "").replace("``", "`")
    summary, _, more = about.partition("\n\n")
    only_admins = rule.endpoint.startswith(ADMINS_ONLY)
    operation: Json = {
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": ["admin" if only_admins else "user"],
        "summary": summary.replace("\n", " "),
        **({"description": more} if more else {}),
        "security": _security(rule.endpoint, method, found),
    }
    parameters = [*_of_path(rule), *_of_query(found, models)]
    if parameters:
        operation["parameters"] = parameters
    if found.body is not None:
        schema = models.ref(found.body, "validation")
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    operation["responses"] = _responses(rule, found, models)
    return operation


def _security(endpoint: str, method: str, found: Contract) -> list[Json]:
    session: Json = {SESSION: []} if method in SAFE_METHODS else {SESSION: [], CSRF: []}
    return [*([{TOKEN: [scope_of(endpoint, method)]}] if found.by_token else []), session]


def _of_path(rule: Rule) -> Iterator[Json]:
    for name in sorted(rule.arguments):
        converter = rule._converters[name]
        schema: Json = {"type": "string", "minLength": 1}
        if isinstance(converter, IntegerConverter):
            schema = {"type": "integer", "minimum": 0}
            if converter.max is not None:
                schema["maximum"] = converter.max
        elif hasattr(converter, "items"):
            schema = {"type": "string", "enum": sorted(converter.items)}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _of_query(found: Contract, models: _Models) -> Iterator[Json]:
    if found.query is not None:
        for name, schema, required in models.fields(found.query):
            yield {"name": name, "in": "query", "required": required, "schema": schema}


def _responses(rule: Rule, found: Contract, models: _Models) -> Json:
    refusal = {"application/json": {"schema": models.ref(Refusal)}}
    return {
        str(found.status): {"description": "Done.", "content": _content(found, models)},
        **(
            {str(NOT_MODIFIED): {"description": "What you have is still good."}}
            if is_kept(found)
            else {}
        ),
        **{
            str(number): {"description": MEANINGS[number], "content": refusal}
            for number in sorted(refusals(rule, found))
        },
    }


def is_kept(found: Contract) -> bool:
    """Tell whether a route may answer that what a browser has is still good."""
    return isinstance(found.gives, Files) and found.gives.kept


def refusals(rule: Rule, found: Contract) -> set[int]:
    """Give the numbers with which a route may refuse."""
    refused = {status_of(kind) for kind in (*ALWAYS, *found.refuses)}
    if rule.arguments:
        # A strange value may make it the address of something else.
        refused |= {NOTHING_THERE, NOT_THIS_WAY}
    if found.body is not None:
        refused.add(TOO_LARGE)
    return refused


def _content(found: Contract, models: _Models) -> Json:
    content: Json = {}
    if isinstance(found.gives, type):
        content["application/json"] = {"schema": models.ref(found.gives)}
    elif isinstance(found.gives, Files):
        content |= _files(found.gives)
    else:
        content["application/json"] = {"schema": dict(found.gives)}
    for media_type, body in _files(found.or_file).items() if found.or_file else ():
        there = content.get(media_type)
        both = {"schema": {"anyOf": [there["schema"], body["schema"]]}} if there else body
        content[media_type] = both
    return content


def _files(files: Files) -> Json:
    # JSON Schema 2020-12 says nothing of bytes; OpenAPI 3.1 leaves the schema empty for them.
    schema: Json = {"type": "string"} if files.is_text else {}
    return {
        one: {"schema": {} if one == "application/json" else schema} for one in files.media_types
    }


def _security_schemes() -> Json:
    return {
        TOKEN: {
            "type": "http",
            "scheme": "bearer",
            "description": "A token made on the account page; the scope it takes stands beside.",
        },
        SESSION: {"type": "apiKey", "in": "cookie", "name": "comfyui_manager_session"},
        CSRF: {
            "type": "apiKey",
            "in": "header",
            "name": "X-CSRFToken",
            "description": "From the page's `csrf-token`; with a session only.",
        },
    }
