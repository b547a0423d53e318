"""Differences of views: as little as possible, and never anything that cannot be put together."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from manager.web.differences import difference
from tests.support.told import merge

VALUES = st.none() | st.integers(0, 2) | st.lists(st.integers(0, 1), max_size=2)
PLAIN = st.none() | st.integers(0, 2)
FIELDS = st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2)
PORTS = st.lists(
    st.builds(lambda port, fields: {"port": port, **fields}, st.integers(1, 2), FIELDS),
    max_size=2,
    unique_by=lambda one: one["port"],
)
WHOLES = st.fixed_dictionaries({"ports": PORTS, "cards": PLAIN | FIELDS, "line": VALUES | FIELDS})


@given(WHOLES, WHOLES)
def test_a_difference_and_what_was_make_what_is(old: dict[str, Any], new: dict[str, Any]) -> None:
    told = difference(old, new)
    if told is not None:
        assert merge(old, told) == new
        assert (told == {}) == (old == new)


def test_only_what_changed_is_in_it() -> None:
    port = {"port": 1, "state": "idle", "user": None}
    old = {"ports": [port, {**port, "port": 2}], "load": {"cpu": 1, "disk": 2}, "users": [1]}
    new = {"ports": [port, {**port, "port": 2, "user": "ann"}], "load": {"cpu": 3, "disk": 2}}
    assert difference(old, {**new, "users": [1]}) == {
        "ports": [{"port": 2, "user": "ann"}],
        "load": {"cpu": 3},
    }


def test_what_cannot_be_said_is_told_whole() -> None:
    assert difference({"a": 1}, {"a": 1, "b": 2}) is None
    assert difference({"a": {"b": 1}}, {"a": {"c": 1}}) is None
    assert difference({"ports": [{"port": 1}]}, {"ports": []}) is None
