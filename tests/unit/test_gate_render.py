from __future__ import annotations

import dataclasses
import re

import pytest

from manager.errors import GateFailed
from manager.gate import caddyfile
from manager.gate.address import is_everywhere
from manager.gate.gate import new_token
from manager.gate.opening import Opening
from manager.gate.render import BEGIN, END, Look, Templates, read_templates, render
from manager.ports import DEFAULT_PORTS
from manager.records import GUARD_HEADER
from manager.settings import ROOT
from tests.support.gate import opening

TOKEN = "aB3" + "x" * 29
SECRET = "s" * 32
LOOK = Look(gate_host="0.0.0.0", manager_port=8880, cookie_secure=False)


@pytest.fixture(scope="module")
def templates() -> Templates:
    return read_templates()


def sites(block: str) -> list[str]:
    return re.findall(r"^(http://\S+(?:, \S+)*) \{", block, re.MULTILINE)


def test_shipped_caddyfile_is_the_default_table_closed(templates: Templates) -> None:
    shipped = ROOT / "Caddyfile"
    text = caddyfile.read(shipped)
    assert text is not None
    block = render(DEFAULT_PORTS, {}, LOOK, templates)
    assert caddyfile.split(text, shipped).around(block) == text


def test_closed_gates_mention_no_token_and_no_upstream(templates: Templates) -> None:
    block = render(DEFAULT_PORTS, {}, LOOK, templates)
    gates = block[block.index("# 8001") :]
    assert "token" not in gates
    assert "reverse_proxy" not in gates
    assert "comfyui_proxy" not in gates
    assert sites(block) == [
        f"http://:{row.workspace_port}, http://:{row.external_port}" for row in DEFAULT_PORTS
    ]


def test_open_gate_has_its_own_name_token_and_upstream_only(templates: Templates) -> None:
    other = new_token()
    block = render(
        DEFAULT_PORTS,
        {8002: opening(8002, TOKEN, SECRET), 8003: opening(8003, other)},
        LOOK,
        templates,
    )
    second, third = block.index("# 8002"), block.index("# 8003")
    gate = block[second:third]
    assert sites(gate) == ["http://:9082", "http://:9002"]
    assert gate.count(f"import comfyui_proxy 127.0.0.1:8002 {GUARD_HEADER} {SECRET}\n") == 3
    assert "token_8003" not in gate
    assert other not in gate
    assert TOKEN not in block[:second] + block[third:]
    assert SECRET not in block[:second] + block[third:]


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " ",
        "A" * 31,
        "A" * 33,
        "A" * 32 + "\n",
        "A" * 31 + "\n",
        "A" * 31 + " ",
        "A" * 31 + "}",
        "A" * 31 + '"',
        "A" * 31 + "_",
        "A" * 31 + "é",
        "A" * 31 + "٣",
        None,
        123456789,
    ],
)
def test_what_is_not_a_token_never_reaches_the_file(templates: Templates, bad: object) -> None:
    with pytest.raises(GateFailed) as failure:
        render(DEFAULT_PORTS, {8001: opening(8001, bad)}, LOOK, templates)  # type: ignore[arg-type]
    assert failure.value.message == "端口 8001: a token must be 32 letters and digits"


@pytest.mark.parametrize("bad", ["", "s" * 31, "s" * 33, "s" * 31 + "}", "s" * 31 + "\n", 1])
def test_what_is_not_a_secret_never_reaches_the_file(templates: Templates, bad: object) -> None:
    with pytest.raises(GateFailed) as failure:
        render(DEFAULT_PORTS, {8001: opening(8001, TOKEN, bad)}, LOOK, templates)  # type: ignore[arg-type]
    assert failure.value.message == "端口 8001: a secret must be 32 letters and digits"


@pytest.mark.parametrize(
    "bad", ["", "8001", "127.0.0.1:8001 }", "a:1\n", "https://node:8001", "unix//run/x", 8001]
)
def test_what_is_not_an_address_never_reaches_the_file(templates: Templates, bad: object) -> None:
    wanted = Opening(TOKEN, SECRET, upstream=bad)  # type: ignore[arg-type]
    with pytest.raises(GateFailed, match="端口 8001: a gate can serve http at host:port"):
        render(DEFAULT_PORTS, {8001: wanted}, LOOK, templates)


def test_an_instance_elsewhere_is_served_from_there(templates: Templates) -> None:
    wanted = Opening(TOKEN, SECRET, upstream="[2001:db8::7]:8188")
    block = render(DEFAULT_PORTS, {8001: wanted}, LOOK, templates)
    assert block.count(f"import comfyui_proxy [2001:db8::7]:8188 {GUARD_HEADER} {SECRET}\n") == 3


def test_an_instance_of_before_the_guard_is_shown_nothing_instead(templates: Templates) -> None:
    block = render(DEFAULT_PORTS, {8001: opening(8001, TOKEN)}, LOOK, templates)
    assert block.count(f'import comfyui_proxy 127.0.0.1:8001 -{GUARD_HEADER} ""\n') == 3


def test_keys_of_a_gate_are_in_no_repr() -> None:
    assert repr(opening(8001, TOKEN, SECRET)) == "Opening(upstream='127.0.0.1:8001')"


def test_unknown_port_is_refused(templates: Templates) -> None:
    with pytest.raises(GateFailed, match="端口 8009"):
        render(DEFAULT_PORTS, {8009: opening(8009, TOKEN)}, LOOK, templates)


def test_row_that_cannot_be_served_is_left_out_even_if_wanted(templates: Templates) -> None:
    block = render(DEFAULT_PORTS, {8001: opening(8001, TOKEN)}, LOOK, templates, {8001: "taken"})
    assert "# 8001: not served" in block
    assert TOKEN not in block
    assert "9081" not in block


def test_address_to_listen_on(templates: Templates) -> None:
    one = dataclasses.replace(LOOK, gate_host="192.0.2.7")
    assert "bind" not in render(DEFAULT_PORTS, {8001: opening(8001, TOKEN)}, LOOK, templates)
    # One site for each of three closed gates, two for the open one.
    assert (
        render(DEFAULT_PORTS, {8001: opening(8001, TOKEN)}, one, templates).count(
            "\tbind 192.0.2.7\n"
        )
        == 5
    )
    assert [is_everywhere(h) for h in ("0.0.0.0", "::", "127.0.0.1", "localhost")] == [
        True,
        True,
        False,
        False,
    ]


def test_cookie_is_secure_where_https_is_in_front(templates: Templates) -> None:
    https = dataclasses.replace(LOOK, cookie_secure=True)
    plain = render(DEFAULT_PORTS, {8001: opening(8001, TOKEN)}, LOOK, templates)
    secure = render(DEFAULT_PORTS, {8001: opening(8001, TOKEN)}, https, templates)
    assert "HttpOnly; SameSite=Lax" in plain
    assert "Secure" not in plain
    assert 'HttpOnly; SameSite=Lax; Secure"' in secure


def test_pages_lead_to_the_managers_port_and_hold_no_script(templates: Templates) -> None:
    block = render(DEFAULT_PORTS, {}, dataclasses.replace(LOOK, manager_port=1234), templates)
    assert block.count('href="//{page_host}:1234/"') == 1
    assert block.count("<script") == 1, "the entry page alone, whose policy names it"
    assert "http://{" not in block[: block.index("# 8001")]


def test_block_stands_between_its_markers(templates: Templates) -> None:
    lines = render(DEFAULT_PORTS, {8001: opening(8001, TOKEN)}, LOOK, templates).splitlines()
    assert [n for n, line in enumerate(lines) if line.startswith(BEGIN)] == [0]
    assert [n for n, line in enumerate(lines) if line.startswith(END)] == [len(lines) - 1]


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9]{32}", token) for token in tokens)
