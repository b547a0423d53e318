"""The table of who may try what names tests that exist, and hides nothing that remains."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.settings import ROOT

DOCUMENT = ROOT / "docs" / "security.md"
TITLE = "## Who may try what"
HEAD = ["who", "tries to", "in the way", "tried in", "what remains"]
ACTORS = {
    "outsider",
    "user",
    "custom node",
    "page script at 9081",
    "other local account",
    "curious admin",
}
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
NOTHING = {"", "-", "–", "—", "none", "nothing", "?", "…"}


def rows_of(text: str) -> list[list[str]]:
    """Give the cells of the first table below the title, its head first."""
    lines = text.partition(f"\n{TITLE}\n")[2].splitlines()
    table = []
    for line in lines:
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif table:
            break
    return [row for row in table if not set("".join(row)) <= set("-:")]


def faults(text: str) -> Iterator[str]:
    """Say what is wrong with the table in ``text``."""
    table = rows_of(text)
    if not table or table[0] != HEAD:
        yield "there is no such table"
        return
    for row in table[1:]:
        if len(row) != len(HEAD):
            yield f"{row}: {len(row)} cells"
            continue
        yield from _faults_of(row)
    yield from (f"nobody says what {who} tries" for who in ACTORS - {row[0] for row in table[1:]})


def _faults_of(row: list[str]) -> Iterator[str]:
    who, tries, way, tests, remains = row
    if who not in ACTORS:
        yield f"{who}: unknown"
    for name, cell in (("tries to", tries), ("in the way", way), ("what remains", remains)):
        if cell.lower().strip(" .") in NOTHING:
            yield f"{who}, {tries}: {name} is not said"
    found = TEST.findall(tests)
    if not found or TEST.sub("", tests).strip(", "):
        yield f"{who}, {tries}: names no test"
    for path, name in found:
        if name not in named_in(ROOT / path):
            yield f"{who}, {tries}: there is no {path}::{name}"


def named_in(path: Path) -> set[str]:
    """Give the names of the test functions of a file, without importing it."""
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_row_names_who_what_a_test_and_what_remains() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert list(faults(text)) == []
    assert len(rows_of(text)) > len(ACTORS)


GOOD = "`tests/unit/test_threat_model.py::test_what_is_wrong_is_found`"
WHOLE = f"\n{TITLE}\n\nwords\n\n| {' | '.join(HEAD)} |\n|---|---|---|---|---|\n" + "".join(
    f"| {who} | come in | a door | {GOOD} | a window |\n" for who in sorted(ACTORS)
)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (TITLE, "## Something else", "no such table"),
        ("| what remains |", "| the rest |", "no such table"),
        ("| user | come in", "| anybody | come in", "nobody says what user tries"),
        ("| user | come in", "| somebody | come in", "somebody: unknown"),
        ("| a window |", "| – |", "what remains is not said"),
        ("| a window |", "|  |", "what remains is not said"),
        ("| a door |", "|  |", "in the way is not said"),
        ("| a window |", "|", "4 cells"),
        (GOOD, "", "names no test"),
        (GOOD, "tried by hand", "names no test"),
        (GOOD, f"{GOOD} and by hand", "names no test"),
        ("is_wrong_is_found", "is_gone", "there is no"),
        ("test_threat_model.py::", "test_no_such.py::", "there is no"),
        ("::test_what_is_wrong_is_found", "::rows_of", "there is no"),
    ],
)
def test_what_is_wrong_is_found(before: str, after: str, said: str) -> None:
    assert list(faults(WHOLE)) == []
    assert said in "\n".join(faults(WHOLE.replace(before, after)))
