"""The parts of docs/api.md that repeat the code, and docs/openapi.json; written by render.py."""

from __future__ import annotations

from typing import Any

from flask import Flask

from manager.settings import ROOT
from manager.web import openapi
from manager.web.answers import codes
from manager.web.app import add_routes


def _app() -> Flask:
    """Give an application that has every route and nothing behind them."""
    app = Flask("comfyui_manager", root_path=str(ROOT))
    add_routes(app)
    return app


def description() -> str:
    """Render the whole description."""
    return openapi.text(_app())


def routes_table() -> str:
    """Render every route: what it does, which scope a token needs, and how it answers."""
    lines = ["| request | what it does | token | answers |", "|---|---|---|---|"]
    for path, ways in openapi.document(_app())["paths"].items():
        for method, one in ways.items():
            scopes = [way["token"][0] for way in one["security"] if "token" in way]
            token = f"`{scopes[0]}`" if scopes else "none"
            what = one["summary"].rstrip(".")
            lines.append(
                f"| `{method.upper()} {path}`{_query(one)} | {what} | {token} | {_answers(one)} |"
            )
    return "\n".join(lines)


def _query(operation: dict[str, Any]) -> str:
    names = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
    return f"<br>{', '.join(names)}" if names else ""


def _answers(operation: dict[str, Any]) -> str:
    common = {"400", "401", "403", "405", "413", "429"}
    return ", ".join(number for number in operation["responses"] if number not in common)


def codes_list() -> str:
    """Render the codes of refusals."""
    return ", ".join(f"`{code}`" for code in codes())
