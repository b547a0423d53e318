"""The end of a log as text, and what is read of the kernel's tables and a launch's records."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from manager.launcher import logs
from manager.launcher.listeners import parse_listeners
from manager.launcher.notes import exit_text
from manager.launcher.run_dir import RunDir

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 501 1 0
   1: 00000000:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 502 1 0
   2: 0200A8C0:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 503 1 0
   3: 0100007F:1F42 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 504 1 0
   4: 0100007F:1F41 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 505 1 0
"""
TABLE6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F41 00000000000000000000000000000000:0000 0A \
00000000:00000000 00:00000000 00000000     0        0 601 1 0
   1: 0000000000000000FFFF00000100007F:1F41 00000000000000000000000000000000:0000 0A \
00000000:00000000 00:00000000 00000000     0        0 602 1 0
   2: 00000000000000000000000001000000:1F41 00000000000000000000000000000000:0000 0A \
00000000:00000000 00:00000000 00000000     0        0 603 1 0
"""


def test_colours_bars_and_control_characters_are_taken_out() -> None:
    raw = "\x1b[32m[INFO]\x1b[0m loaded\x07\r\n 10%|#\r 50%|##\r100%|###\nlast\x1b]0;title\x07 line"
    assert logs.plain(raw) == "[INFO] loaded\n100%|###\nlast line"


def test_a_bar_that_is_still_drawn_shows_its_last_state() -> None:
    assert logs.plain(" 10%|#\r 50%|##\r") == " 50%|##"


@given(st.binary(max_size=300))
def test_any_bytes_give_printable_lines(raw: bytes) -> None:
    text = logs.plain(raw.decode("utf-8", "replace"))
    assert "\x1b[" not in text
    assert not set(text) & {"\r", "\0", "\x07"}


def test_the_tail_goes_on_in_the_old_copy_and_stays_in_its_limit(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert logs.tail(log, 100) == ""
    log.write_text("new\n")
    assert logs.tail(log, 100) == "new\n"
    (tmp_path / "log.1").write_text("older\nold\n")
    assert logs.tail(log, 100) == "older\nold\nnew\n"
    assert logs.tail(log, 8) == "old\nnew\n"
    assert logs.tail(log, 2) == "w\n"


def test_a_cut_character_does_not_raise(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes("汉字".encode())
    assert logs.tail(tmp_path / "log", 4) == "\ufffd字"


def test_only_listeners_that_loopback_reaches_count() -> None:
    assert sys.byteorder == "little"  # as the tables above were printed
    assert parse_listeners(TABLE, 8001) == {501, 502}
    assert parse_listeners(TABLE, 8003) == set()
    assert parse_listeners(TABLE6, 8001) == {601, 602}


def test_records_that_are_missing_or_broken_are_nobody(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for text in (
        "",
        "{",
        "[]",
        '{"boot_id": 1, "child": [5, 6]}',
        '{"boot_id": "b", "child": [1]}',
    ):
        (tmp_path / "record").write_text(text)
        assert run.identities() == (None, None)
    (tmp_path / "record").write_text('{"boot_id": "b", "child": [5, "6"], "supervisor": [0, 1]}')
    assert run.identities() == (None, None)
    assert run.exit_code() is None


def test_the_exit_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "exit").write_text(exit_text(-9, 'no "such"\nfile\\'))
    assert RunDir(tmp_path).exit_code() == -9


def test_a_launch_is_claimed_once(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "runs" / "one")
    assert run.create({"a": 1}) is True
    assert run.create({"a": 2}) is False
    assert (run.path / "meta").read_text() == '{"a": 1}\n'
    assert run.locked() is False
