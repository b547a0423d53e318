"""What a route of the API takes, gives and refuses, said once, in front of its function.

    @api.post("/keep-awake")
    @contract(UserState, status=202, refuses=(Conflict, NotRunning))
    def keep_awake(body: KeepAwake) -> ResponseReturnValue:

The parameters ``body`` and ``query`` are read and checked by the models they are annotated with.
``guard`` takes from here whether a token may come by, ``openapi`` writes the description. A route
without a contract is closed to tokens, and a test does not let it pass.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar, get_type_hints

from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from manager.errors import ManagerError
from manager.web import bodies
from manager.web.answers import Answer

View = Callable[..., ResponseReturnValue]
T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Files:
    """What is given is no JSON: the media types there may be, and of which kind they are.

    ``kept``: who has it already and names its ETag is told that it is still good.
    """

    media_types: tuple[str, ...]
    is_text: bool = True
    kept: bool = False


Gives = type[Answer] | Files | Mapping[str, Any]
"""A model, files, or (for a description of another standard) any JSON Schema."""


@dataclass(frozen=True)
class Contract:
    """What is said of a route. ``refuses`` are errors beyond those that every route may give."""

    gives: Gives
    status: int
    refuses: tuple[type[ManagerError], ...]
    by_token: bool
    or_file: Files | None
    body: type[bodies.Body] | None
    query: type[bodies.Query] | None


class Contracted:
    """A route's function with its contract."""

    def __init__(self, view: View, contract: Contract) -> None:
        """Keep both; Flask names the endpoint by the function."""
        functools.update_wrapper(self, view)
        self.contract = contract
        self._view = view

    def __call__(self, **arguments: object) -> ResponseReturnValue:
        """Read what the route takes and call it.

        Raises:
            BadInput: query or body are not as they ought to be.
        """
        if self.contract.query is not None:
            arguments["query"] = bodies.read_query(self.contract.query)
        if self.contract.body is not None:
            arguments["body"] = bodies.read(self.contract.body)
        return self._view(**arguments)


def contract(
    gives: Gives,
    *,
    status: int = 200,
    refuses: tuple[type[ManagerError], ...] = (),
    by_token: bool = True,
    or_file: Files | None = None,
) -> Callable[[View], Contracted]:
    """Say what a route gives when all is well, and what it may refuse.

    Without ``by_token`` no token comes by, whatever its scope. ``or_file`` is what is given instead
    to who asks for a download.
    """

    def wrap(view: View) -> Contracted:
        body = _annotated(view, "body", bodies.Body)
        query = _annotated(view, "query", bodies.Query)
        return Contracted(view, Contract(gives, status, refuses, by_token, or_file, body, query))

    return wrap


def _annotated(view: View, name: str, kind: type[T]) -> type[T] | None:
    """Give the model that a function's parameter is annotated with; None where it has none."""
    # The one annotation alone: what a function returns need not be there at run time.
    written = inspect.get_annotations(view).get(name)
    alone = SimpleNamespace(__annotations__={name: written} if written else {})
    model = get_type_hints(alone, globalns=inspect.unwrap(view).__globals__).get(name)
    if model is not None and not issubclass(model, kind):
        raise TypeError(f"{name} of {view.__name__} is no {kind.__name__}")
    return model


def contract_of(view: Callable[..., object] | None) -> Contract | None:
    """Give what is said of a route's function, if anything is."""
    return view.contract if isinstance(view, Contracted) else None
