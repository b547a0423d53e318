"""Thousands of requests that schemathesis makes of the API's description, by every kind of visitor.

No fault, no answer that the description does not know, no right crossed, nothing refused or taken
by mistake. ``API_FUZZ=20000`` asks more often, ``API_FUZZ_SEED=7`` asks other things; both are told
in docs/api.md.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.api_fuzz import HASH, PICTURE, VISITORS, Visitor, World, quick_hash

REQUESTS = int(os.environ.get("API_FUZZ", "1500"))
SEED = int(os.environ.get("API_FUZZ_SEED", "0"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
LOOKED_AT = ("/api/user/outputs/file", "/api/user/outputs/workflow", "/api/user/outputs")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(HASH, quick_hash)
    made = World(tmp_path)
    yield made
    made.close()


def at_home(world: World, case: Any, choose: random.Random) -> None:
    """Have most requests name what is there: chance alone would hardly ever."""
    if choose.random() < 0.2:
        return
    there = {
        "port": [row.port for row in world.house.settings.ports],
        "user_id": [user.id for user in world.users.values()] or [1],
    }
    for name in there.keys() & case.path_parameters.keys():
        case.path_parameters[name] = choose.choice(there[name])
    if case.operation.label == "POST /api/admin/users":
        case.body |= {"username": f"u{choose.randrange(500)}", "password": "long enough"}
    if case.operation.path in LOOKED_AT and "path" in (case.query or {}):
        case.query["path"] = PICTURE


def asks(world: World, operation: Any, mode: GenerationMode, count: int) -> list[str]:
    """Ask one thing ``count`` times, by all visitors in turn; give what was wrong.

    Nothing is raised meanwhile: Hypothesis would ask again, and the house is another by then.
    """
    method, path = operation.method.upper(), operation.path
    found: list[str] = []
    turn = iter(range(10 * count))

    @settings(
        max_examples=count,
        derandomize=not SEED,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), number=st.integers(0, 2**32))
    def one(case: Any, number: int) -> None:
        visitor: Visitor = VISITORS[next(turn) % len(VISITORS)]
        if mode is GenerationMode.POSITIVE:
            at_home(world, case, random.Random(number))
        checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS
        try:
            case.validate_response(world.ask(case, visitor, method, path), checks=checks)
        except (AssertionError, FailureGroup) as error:
            parts = getattr(error, "exceptions", [error])
            found.extend(f"{visitor.name}, {operation.label}: {part}" for part in parts)

    if SEED:
        one = hypothesis.seed(SEED)(one)
    # Nothing that is wrong can be sent to some: a text of any kind is right there.
    with contextlib.suppress(hypothesis.errors.Unsatisfiable):
        one()
    return found


def takes_anything(operation: Any) -> bool:
    """Tell whether there is anything to send that may be wrong."""
    return any((operation.body, operation.query, operation.path_parameters))


@pytest.mark.timeout(60 + REQUESTS // 5)
def test_thousands_of_requests_find_no_fault_and_cross_no_right(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.mend()
    operations = list(world.operations())
    plan = [
        (operation, mode)
        for operation in operations
        for mode in MODES
        if mode is GenerationMode.POSITIVE or takes_anything(operation)
    ]
    each = -(-REQUESTS // len(plan))
    found = [fault for operation, mode in plan for fault in asks(world, operation, mode, each)]
    # Where nothing wrong can be sent, somebody asks the more of what is right.
    missing = REQUESTS - world.asked.total()
    found += asks(world, operations[0], GenerationMode.POSITIVE, missing) if missing > 0 else []
    with capsys.disabled():
        sys.stdout.write(
            f"\n{world.asked.total()} requests, {len(operations)} operations, "
            f"by visitor {dict(world.asked)}, by status {dict(sorted(world.answered.items()))}\n"
        )
    assert not found, "\n\n".join(found[:20])
    assert world.asked.total() >= REQUESTS
    assert set(world.asked) == {one.name for one in VISITORS}
    assert {200, 201, 202, 400, 401, 403, 404, 409} <= world.answered.keys()
