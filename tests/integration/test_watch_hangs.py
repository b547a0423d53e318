"""The watch over real sockets: whoever does not answer delays nobody who does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from manager.comfyui import ComfyUI
from manager.connections import USUAL
from tests.support.house import House
from tests.support.talker import Talker, http_answer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

WORKERS = 4
IDLE_BODY = b'{"queue_running": [], "queue_pending": []}'


class Street:
    """Instances behind real sockets, each of which can be told to stop answering."""

    def __init__(self, tmp_path: Path, instances: int) -> None:
        self.silent: set[int] = set()
        self.over = threading.Event()
        self.talkers = [Talker(self._talk(n)) for n in range(instances)]
        self.client = ComfyUI(instances)
        self.house = House(tmp_path, MAX_WORKERS=str(WORKERS), QUEUE_CHECK_INTERVAL="1")
        self.house.comfyui.queue = self.client.queue  # type: ignore[method-assign]
        self.house.comfyui.forget = self.client.forget  # type: ignore[method-assign]
        self.house.launcher.address_of = lambda spec: self.talkers[spec.port - 8001].address
        for n in range(instances):
            self.house.run(self.house.user(f"u{n}"))

    def _talk(self, n: int) -> Callable[[socket.socket], object]:
        def talk(connection: socket.socket) -> None:
            if n in self.silent:
                self.over.wait(60)
                raise ConnectionError("it ends without an answer")
            connection.sendall(http_answer(IDLE_BODY))

        return talk

    def checked(self, n: int) -> float | None:
        """Say when an instance last answered a check."""
        reading = self.house.watch.reading(8001 + n)
        return reading.checked_at if reading else None

    def close(self) -> None:
        """End all of it; nobody is left waiting."""
        self.over.set()
        # First, else the servers wait for the next question.
        self.client.close()
        for talker in self.talkers:
            talker.close()
        self.house.close()


@pytest.fixture
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    # Long enough that none of those who hang lets go while the test lasts.
    patient = replace(USUAL, wait_s=60.0, total_s=60.0)
    monkeypatch.setattr("manager.connections.USUAL", patient)
    built = Street(tmp_path, 4)
    yield built
    built.close()


def test_children_that_hang_do_not_delay_the_one_that_answers(street: Street) -> None:
    street.house.watch.tick(0.0)
    tracks = street.house.watch._tracks
    wait_until(lambda: not any(t.in_flight for t in tracks.values()), what="the first round")
    street.silent = {1, 2, 3}
    for second in range(1, 8):
        before = len(street.talkers[0].requests)
        street.house.watch.tick(float(second))
        wait_until(lambda: not tracks[8001].in_flight, what="the one that answers")
        assert len(street.talkers[0].requests) == before + 1
    assert [tracks[8001 + n].in_flight for n in range(4)] == [False, True, True, True]
    assert [len(street.talkers[n].requests) for n in (1, 2, 3)] == [
        len(street.talkers[0].requests) - 6
    ] * 3
    assert [tracks[8001 + n].skipped for n in range(4)] == [0, 6, 6, 6]
