from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.errors import GateFailed
from manager.gate.caddyfile import (
    ADMIN_LINES,
    EARLIER_FIRST_LINE,
    OLD_ADMIN_LINE,
    Draft,
    read,
    split,
    with_secret,
)
from manager.gate.render import BEGIN, END

HERE = Path("Caddyfile")
ADMIN_LINE = ADMIN_LINES[0]
HEAD = "{\n" + "".join(f"\t{line}\n" for line in ADMIN_LINES) + "}\n"
OLD_HEAD = f"{{\n\t{OLD_ADMIN_LINE}\n\tauto_https off\n}}\n"
BLOCK = f"{BEGIN} x\ninside\n{END} y\n"

LINES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200).filter(
    lambda text: not any(word in text for word in (BEGIN, END, OLD_ADMIN_LINE))
)


@given(above=LINES, below=LINES)
def test_operators_lines_are_kept_byte_for_byte(above: str, below: str) -> None:
    outside = split(HEAD + above + "\n" + BLOCK + below, HERE)
    assert outside.around("NEW\n") == HEAD + above + "\nNEW\n" + below


def test_windows_line_ends_of_the_operator_stay() -> None:
    outside = split(HEAD + "# mine\r\n" + BLOCK + "# too\r\n", HERE)
    assert outside.around("") == HEAD + "# mine\r\n# too\r\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", f"«{BEGIN}» is missing"),
        (HEAD, f"«{BEGIN}» is missing"),
        (HEAD + BEGIN + "\n", f"«{END}» is missing"),
        (HEAD + BLOCK + BLOCK, "is in lines 7, 10"),
        (HEAD + f"{END}\n{BEGIN}\n", "line 7 (# <<<) stands above line 8 (# >>>)"),
        (BLOCK, ADMIN_LINE),
        ("{\n\tadmin localhost:2019\n}\n" + BLOCK, ADMIN_LINE),
        (BLOCK.replace("inside", ADMIN_LINE), ADMIN_LINE),
        (HEAD.replace("\tenforce_origin\n", "") + BLOCK, ADMIN_LINE),
        (HEAD.replace("^nobody^", "localhost") + BLOCK, ADMIN_LINE),
        (OLD_HEAD + OLD_HEAD + BLOCK, ADMIN_LINE),
        (HEAD + OLD_HEAD + BLOCK, ADMIN_LINE),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_what_to_do(text: str, words: str) -> None:
    with pytest.raises(GateFailed) as failure:
        split(text, HERE)
    assert words in failure.value.message
    assert "Caddyfile" in failure.value.message


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_admin_line_of_an_earlier_version_is_replaced_and_nothing_else(end: str) -> None:
    old = OLD_HEAD.replace("\n", end) + f"# mine{end}" + BLOCK
    outside = split(old, HERE)
    new = end.join(f"\t{line}" for line in ADMIN_LINES[:1])
    new += "".join(f"{end}\t\t{line}" for line in ADMIN_LINES[1:3]) + f"{end}\t{ADMIN_LINES[3]}"
    assert outside.above == (
        OLD_HEAD.replace("\n", end).replace(f"\t{OLD_ADMIN_LINE}", new) + f"# mine{end}"
    )
    assert split(outside.around(BLOCK), HERE) == outside


def test_first_line_of_a_version_in_between_is_replaced_too() -> None:
    head = HEAD.replace(ADMIN_LINE, EARLIER_FIRST_LINE)
    assert split(head + "# mine\n" + BLOCK, HERE).above == HEAD + "# mine\n"


def test_admin_line_of_an_earlier_version_takes_the_secret_out_of_the_log_too() -> None:
    line = "\t\trequest>headers>Referer delete\n"
    assert split(OLD_HEAD + line + BLOCK, HERE).above.endswith(
        "\t\theaders>Origin delete\n\t\torigins delete\n" + line
    )
    assert split(HEAD + line + BLOCK, HERE).above == HEAD + line


def test_secret_goes_to_caddy_and_not_into_the_file() -> None:
    assert "origins abc\n" in with_secret(HEAD, "abc")


def test_draft_is_private_from_the_first_byte_and_changes_nothing_yet(tmp_path: Path) -> None:
    path = tmp_path / "Caddyfile"
    path.write_text("old")
    path.chmod(0o644)
    draft = Draft(path, "new")
    assert path.read_text() == "old"
    (written,) = (file for file in tmp_path.iterdir() if file != path)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    draft.put()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_dropped_draft_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "Caddyfile"
    path.write_text("old")
    Draft(path, "new").drop()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_left_over_draft_is_no_obstacle_and_no_trap(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "Caddyfile", tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (tmp_path / ".Caddyfile.new").symlink_to(elsewhere)
    Draft(path, "new").put()
    assert path.read_text() == "new"
    assert elsewhere.read_text() == "precious"


def test_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "Caddyfile", tmp_path / "Caddyfile"
    real.parent.mkdir()
    real.write_text("old")
    link.symlink_to(real)
    Draft(link, "new").put()
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_file_keeps_its_owner_when_root_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "Caddyfile"
    path.write_text("old")
    given_to: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda _file, uid, gid: given_to.append((uid, gid)))
    Draft(path, "new").drop()
    assert given_to == [(path.stat().st_uid, path.stat().st_gid)]


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match="must be able to make files in"):
        Draft(tmp_path / "nowhere" / "Caddyfile", "new")


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "Caddyfile"
    assert read(path) is None
    path.write_bytes(b"a\r\nb")
    assert read(path) == "a\r\nb"
    path.write_bytes(b"\xff")
    with pytest.raises(GateFailed, match="not UTF-8"):
        read(path)
    with pytest.raises(GateFailed, match="cannot be read"):
        read(tmp_path)
