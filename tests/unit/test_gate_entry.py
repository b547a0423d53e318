"""The mark of a user, and the policy of the page that clears a browser."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import textwrap

from manager.gate import entry
from manager.gate.opening import Opening
from manager.gate.render import Look, read_templates, render
from manager.ports import DEFAULT_PORTS

LOOK = Look("0.0.0.0", 8880, cookie_secure=False, mark_key="k" * 32)


def test_a_mark_is_of_one_user_and_one_server_and_names_nobody() -> None:
    marks = {entry.mark(key, owner) for key in ("a" * 32, "b" * 32) for owner in range(1, 100)}
    assert len(marks) == 198
    assert all(re.fullmatch(r"[0-9a-f]{32}", mark) for mark in marks)
    assert entry.mark("a" * 32, 7) == entry.mark("a" * 32, 7)


def test_an_open_gate_knows_its_owners_mark_and_never_the_key() -> None:
    wanted = Opening("t" * 32, "s" * 32, upstream="127.0.0.1:8001", owner=7)
    block = render(DEFAULT_PORTS, {8001: wanted}, LOOK, read_templates())
    assert block.count(entry.mark(LOOK.mark_key, 7)) == 2
    assert LOOK.mark_key not in block
    assert LOOK.mark_key not in repr(LOOK)
    other = render(
        DEFAULT_PORTS, {8001: dataclasses.replace(wanted, owner=8)}, LOOK, read_templates()
    )
    assert entry.mark(LOOK.mark_key, 7) not in other


def test_the_policy_of_the_page_lets_its_own_script_run_and_no_other() -> None:
    snippets = read_templates().entry
    body = re.search(r"<<ENTRY\n(.*?)\t\t\tENTRY", snippets, re.DOTALL)
    assert body is not None
    script = textwrap.dedent(body[1]).partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'; style-src" in snippets
    assert snippets.count("<script") == 1
