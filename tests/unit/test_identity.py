from __future__ import annotations

import dataclasses
import os
import signal

from manager import identity


def me() -> identity.Identity:
    found = identity.read(os.getpid())
    assert found is not None
    return found


def test_own_process_is_identified_and_alive():
    assert me().pid == os.getpid()
    assert identity.alive(me())


def test_no_process_has_pid_beyond_the_kernels_limit():
    assert identity.read(2**22 + 1) is None


def test_same_pid_started_at_another_time_or_boot_is_another_process():
    mine = me()
    assert not identity.alive(dataclasses.replace(mine, start_ticks=mine.start_ticks - 1))
    assert not identity.alive(dataclasses.replace(mine, boot_id="another"))


def test_record_comes_back_as_written():
    assert identity.from_dict(me().to_dict()) == me()


def test_record_that_is_none_is_refused():
    good = me().to_dict()
    for broken in ({}, {**good, "pid": "1"}, {**good, "pid": 0}, {**good, "boot_id": None}):
        assert identity.from_dict(broken) is None


def test_signal_never_reaches_a_stranger_with_the_same_pid():
    hits: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: hits.append(number))
    try:
        stranger = dataclasses.replace(me(), start_ticks=me().start_ticks + 1)
        assert not identity.send(stranger, signal.SIGUSR1)
        assert hits == []
        assert identity.send(me(), signal.SIGUSR1)
        assert hits == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)
