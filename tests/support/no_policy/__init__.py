"""A custom node that takes the demo's own policy from its pages: a hostile one would."""

from __future__ import annotations

from flask import Response

from demo import server


def _none(response: Response) -> Response:
    return response


vars(server)["_headers"] = _none
