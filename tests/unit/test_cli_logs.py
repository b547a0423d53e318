"""Reading logs: the newest lines, one port's, and on through rotation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manager import cli_logs


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "manager.log"
    path.write_text("".join(f"line {n}\n" for n in range(10)))
    return path


def everything(_line: str) -> bool:
    return True


def test_the_newest_lines_come_also_out_of_the_file_before(log: Path) -> None:
    log.with_name("manager.log.1").write_text("older\n")
    with log.open("rb") as file:
        assert cli_logs.newest(log, file, everything, 11)[:2] == ["older\n", "line 0\n"]
    with log.open("rb") as file:
        assert cli_logs.newest(log, file, everything, 2) == ["line 8\n", "line 9\n"]
    with log.open("rb") as file:
        assert cli_logs.newest(log, file, everything, 0) == []


def followed(log: Path, steps: list[Callable[[], object]], count: int) -> list[str]:
    """Follow a log; at each pause do the next step."""
    waiting: Iterator[Callable[[], object]] = iter(steps)

    def pause(_seconds: float) -> None:
        next(waiting)()

    with log.open("rb") as file:
        file.seek(0, 2)
        lines = cli_logs.follow(log, file, pause)
        found = [next(lines) for _ in range(count)]
        lines.close()  # type: ignore[attr-defined]
    return found


def append(log: Path, text: str) -> Callable[[], object]:
    def work() -> None:
        with log.open("a") as file:
            file.write(text)

    return work


def test_a_line_is_given_when_it_is_whole(log: Path) -> None:
    assert followed(log, [append(log, "ha"), append(log, "lf\n")], 1) == ["half\n"]


def test_a_renamed_log_is_followed_into_the_next_and_nothing_is_missed(log: Path) -> None:
    def rotate() -> None:
        append(log, "last of the old\n")()
        log.rename(log.with_name("manager.log.1"))
        log.write_text("first of the new\n")

    nothing: Callable[[], object] = lambda: None  # noqa: E731 - a step that does nothing
    assert followed(log, [rotate, nothing, nothing], 2) == [
        "last of the old\n",
        "first of the new\n",
    ]


def test_an_emptied_log_is_read_from_its_beginning(log: Path) -> None:
    assert followed(log, [lambda: log.write_text("anew\n")], 1) == ["anew\n"]
