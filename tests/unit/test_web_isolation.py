"""What the admins' page says of isolation: what is in force, what it guards, and what is open."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from manager.launcher.guarded import ATTEMPTS, COLUMNS, guarded
from manager.records import Node
from tests.support.web import Site

LAYERS = ("supervisor", "v2", "memory", "marker")


def _panel(tmp_path: Path, node: Node) -> str:
    site = Site(tmp_path)
    site.house.lifecycle.node = node
    page = site.visitor("admin").get("/admin").text
    # No further: the page also carries all sentences for its scripts.
    return page[page.index("data-isolation=") :].partition("</section>")[0]


@pytest.mark.parametrize(("level", "landlock", "root"), COLUMNS)
def test_every_attempt_is_answered_in_words(
    tmp_path: Path, level: str, landlock: int, root: bool
) -> None:
    panel = _panel(tmp_path, Node("local", level, landlock, LAYERS, {"landlock": "why not"}, root))
    found = dict(re.findall(r'data-attempt="(\w+)" data-guarded="(yes|no)"', panel))
    claims = guarded(level, landlock, root)
    assert found == {name: "yes" if claims[name] else "no" for name in ATTEMPTS}
    assert f'data-isolation="{level}"' in panel
    assert ("why not" in panel) is (landlock == 0)


def test_own_folders_under_root_are_called_dangerous(tmp_path: Path) -> None:
    root = Node("local", "directories", 7, LAYERS, {}, root=True)
    assert "may take over this server" in _panel(tmp_path, root)


def test_users_who_are_not_kept_apart_are_said_to_be(tmp_path: Path) -> None:
    plain = Node("local", "directories", 0, LAYERS, {"landlock": "none"}, root=False)
    assert "not kept apart" in _panel(tmp_path, plain)
    with_landlock = Node("local", "directories", 7, LAYERS, {}, root=False)
    assert "not kept apart" not in _panel(tmp_path, with_landlock)


def test_the_reasons_for_not_being_higher_are_there(tmp_path: Path) -> None:
    refused = {"sandbox": "bubblewrap <is> missing", "user": "needs root"}
    panel = _panel(tmp_path, Node("local", "directories", 7, LAYERS, refused, root=False))
    assert panel.index("bubblewrap &lt;is&gt; missing") < panel.index("needs root")
    assert "control group" in panel
