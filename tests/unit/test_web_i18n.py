"""The two catalogues say the same things, and every key in use exists."""

from __future__ import annotations

import re

import pytest

from manager.lifecycle.reasons import KINDS
from manager.settings import ROOT
from manager.states import State
from manager.web import differences, i18n, live, sockets

ENGLISH, CHINESE = i18n.catalogue("en"), i18n.catalogue("zh_CN")
SCRIPTS = sorted((ROOT / "static" / "js").rglob("*.js"))
TEMPLATES = sorted((ROOT / "templates").glob("*.html"))


def test_both_languages_have_the_same_keys_in_the_same_order() -> None:
    assert list(ENGLISH) == list(CHINESE)


@pytest.mark.parametrize("key", ENGLISH)
def test_both_sentences_leave_room_for_the_same(key: str) -> None:
    # «card» and «port» may be named in one language and understood in the other; never invented.
    assert i18n.places(ENGLISH[key]) == i18n.places(CHINESE[key])
    assert ENGLISH[key].strip()
    assert CHINESE[key].strip()


def keys_in(text: str) -> set[str]:
    return set(re.findall(r"""\bt\(\s*['"]([a-z_.]+)['"]""", text))


@pytest.mark.parametrize("path", [*SCRIPTS, *TEMPLATES], ids=lambda path: path.name)
def test_each_key_written_in_pages_and_scripts_exists(path: object) -> None:
    text = path.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    whole = {key for key in keys_in(text) if not key.endswith(".")}
    assert whole <= set(ENGLISH)
    starts = {key for key in keys_in(text) if key.endswith(".")}
    starts |= set(re.findall(r"`([a-z_]+\.[a-z_.]*)\$\{", text))
    for start in starts:
        assert any(key.startswith(start) for key in ENGLISH), start


def test_each_state_and_end_has_its_words() -> None:
    assert {f"state.{state}" for state in State} <= set(ENGLISH)
    ends = [
        "user",
        "admin",
        "idle",
        "overdue",
        "died",
        "launch_failed",
        "shutdown",
        "hung",
        "other",
    ]
    assert {f"user.end.{end}" for end in ends} <= set(ENGLISH)
    assert {f"user.end.hint.{end}" for end in ends} <= set(ENGLISH)


def test_scripts_listen_to_the_events_that_are_sent() -> None:
    text = (ROOT / "static" / "js" / "lib" / "live.js").read_text(encoding="utf-8")
    for name in ("STATE_EVENT", "STATE_DIFF_EVENT", "OVERVIEW_EVENT", "OVERVIEW_DIFF_EVENT"):
        assert f'{name} = "{getattr(live, name)}"' in text
    assert sockets.NOT_AUTHENTICATED in text
    keys = ", ".join(f'{name}: "{key}"' for name, key in differences.KEYED.items())
    assert f"KEYED = {{ {keys} }}" in text


def test_scripts_write_no_markup() -> None:
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_a_sentence_keeps_a_place_without_a_value() -> None:
    assert i18n.translate("en", "admin.created") == "User {username} was created."
    assert i18n.translate("en", "admin.created", username="{id}") == "User {id} was created."


def test_each_kind_of_reason_has_its_words() -> None:
    assert {f"fault.{kind}" for kind in KINDS} <= set(ENGLISH)
    assert {f"fault.hint.{kind}" for kind in KINDS} <= set(ENGLISH)
