"""nvidia-smi's and rocm-smi's output, and what stands for a card where there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.cards import cpu, cuda, rocm
from manager.cards.reading import (
    MIB,
    CardProcess,
    Reading,
    Unreadable,
    memory,
    number,
    percent,
    whole,
)
from tests.support.card_samples import names, sample


def test_a_header_with_units_is_read_whatever_its_columns() -> None:
    a100 = cuda.read_cards(sample("nvidia-smi-query-gpu_A100"))
    assert [one.memory_used for _, one in a100.values()] == [10 * MIB] * 3
    assert [one.temperature for _, one in a100.values()] == [34.0, 33.0, 31.0]
    h100 = cuda.read_cards(sample("nvidia-smi-query-gpu_H100"))
    assert [one.utilisation for _, one in h100.values()] == [100, 98, 100, 100, 100, 98, 100, 99]
    assert h100[4][1].memory_used == 21340 * MIB
    _, gh200 = cuda.read_cards(sample("nvidia-smi-query-gpu_GH200"))[0]
    assert (gh200.memory_used, gh200.power, gh200.utilisation) == (2589 * MIB, 128.78, 0.0)


def test_what_is_not_told_is_unknown_and_not_zero() -> None:
    _, one = cuda.read_cards(sample("nvidia-smi-query-gpu_NA"))[0]
    assert (one.memory_used, one.memory_total, one.temperature) == (None, None, None)
    assert (one.utilisation, one.processes) == (42.0, None)


def test_processes_belong_to_the_card_of_their_uuid() -> None:
    rows = cuda.read_processes(sample("nvidia-smi-query-compute-apps_uuid"))
    assert len(rows) == 6
    assert rows[0][1] == CardProcess(1328667, 130004 * MIB, "/usr/local/bin/python3.10")
    assert cuda.read_processes(sample("nvidia-smi-query-compute-apps_empty")) == []
    with pytest.raises(Unreadable, match="no header"):
        cuda.read_processes(sample("nvidia-smi-query-compute-apps_noheader"))


def test_two_tables_in_one_text_are_told_apart() -> None:
    text = sample("nvidia-smi-query-gpu_L40S")
    ((_, card),) = cuda.read_cards(text).values()
    processes = [one for _, one in cuda.read_processes(text)]
    assert card.memory_used == 9123 * MIB
    assert sum(one.memory or 0 for one in processes) == 9104 * MIB


GPUS = (
    "index, uuid, name, utilization.gpu [%], memory.used [MiB], memory.total [MiB]\n"
    "0, GPU-a, NVIDIA A, 0 %, 10 MiB, 81920 MiB\n1, GPU-b, NVIDIA B, 0 %, 10 MiB, 81920 MiB\n"
)
APPS = "gpu_uuid, pid, process_name, used_gpu_memory [MiB]\n"


def _nvidia(cards: str, apps: str | None) -> list[tuple[CardProcess, ...] | None]:
    def run(command: Sequence[str]) -> str:
        if "--query-gpu" in command[1]:
            return cards
        if apps is None:
            raise Unreadable("refused")
        return apps

    return [one.processes for one in cuda.read(run)]


def test_a_list_of_processes_counts_only_when_it_is_whole() -> None:
    assert _nvidia(GPUS, APPS) == [(), ()]
    assert _nvidia(GPUS, None) == [None, None]
    assert _nvidia(GPUS, "No devices were found\n") == [None, None]
    one = CardProcess(7, 90 * MIB, "python -c 'a, b'")
    assert _nvidia(GPUS, f"{APPS}GPU-b, 7, python -c 'a,b', 90 MiB\n")[0] == ()
    listed = _nvidia(GPUS, f"{APPS}GPU-b, 7, python -c 'a,b', 90 MiB\n")[1]
    assert listed is not None
    assert (listed[0].pid, listed[0].memory) == (one.pid, one.memory)
    # A card that is not in the other table: whose it is nobody can tell.
    assert _nvidia(GPUS, f"{APPS}GPU-c, 7, python, 90 MiB\n") == [None, None]
    assert _nvidia(sample("nvidia-smi-query-gpu_A100"), APPS) == [None] * 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
        "index, name\n[N/A], x\n",
        "index, memory.used [MiB]\n0\n",
        "index, name\n",
    ],
)
def test_nonsense_is_refused_with_its_reason(text: str) -> None:
    with pytest.raises(Unreadable):
        cuda.read_cards(text)


@pytest.mark.parametrize("name", ["rocm-smi-json_7900XT", "rocm-smi-csv_7900XT"])
def test_json_and_csv_say_the_same(name: str) -> None:
    (one,) = rocm.read_cards("WARNING: a card sleeps\n" + sample(name))
    assert (one.device, one.name) == (0, "Radeon RX 7900 XT")
    assert (one.memory_used, one.memory_total) == (27856896, 21458059264)
    assert (one.utilisation, one.processes) == (0.0, None)


def test_keys_are_found_by_their_words() -> None:
    big, small = rocm.read_cards(sample("rocm-smi-json_two"))
    assert (big.power, small.power) == (19.0, 12.134)
    assert (big.temperature, small.temperature) == (36.0, 39.0)
    assert (big.name, small.name) == ("APM107573", "PHXGENERIC")
    old = rocm.read_cards(sample("rocm-smi-json_showmemuse"))
    assert [(one.device, one.memory_used, one.memory_total) for one in old] == [
        (0, None, None),
        (1, None, None),
    ]


@pytest.mark.parametrize("text", ["", "{}", "{", "[1]", '{"card0": 1}', "device,\ncard0,1,2\n"])
def test_no_card_is_no_reading(text: str) -> None:
    with pytest.raises(Unreadable):
        rocm.read_cards(text)


def test_a_processor_has_a_name_and_nothing_that_proves_it_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor : 0\nmodel name : A Processor: fast\n", encoding="utf-8")
    monkeypatch.setattr(cpu, "CPUINFO", path)
    first, second = cpu.read([0, 3])
    assert (first.device, second.device, first.name) == (0, 3, "A Processor: fast")
    assert (first.memory_total, first.processes) == (None, None)
    path.unlink()
    assert cpu.model() == ""


@pytest.mark.parametrize("text", ["", "NA", "-", "-1", "nan", "inf", "1e9", "٣", "0x10", "9" * 16])
def test_only_plain_numbers_are_numbers(text: str) -> None:
    assert number(text) is None
    assert whole(text) is None


def test_numbers_that_cannot_be_are_unknown() -> None:
    assert percent("101") is None
    assert percent("100") == 100.0
    assert memory(5, 4) == (None, None)
    assert memory(5, None) == (None, None)
    assert memory(0, 0) == (None, None)
    assert memory(4, 4) == (4, 4)


MIXED = st.sampled_from([sample(name) for name in (*names("nvidia-smi"), *names("rocm-smi"))])


@st.composite
def _mutilated(draw: st.DrawFn) -> str:
    text = draw(MIXED)
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 200)))
    return text[:start] + draw(st.text(max_size=20)) + text[end:]


@given(_mutilated() | st.text() | st.text('{"card0123:}[],index pid\n'))
def test_no_text_breaks_a_reader(text: str) -> None:
    for one in [*_cards(rocm.read_cards, text), *_cards(cuda.read_cards, text)]:
        assert one.memory_used is None or one.memory_used <= (one.memory_total or 0)
        assert one.processes is None
    _cards(cuda.read_processes, text)


def _cards(reader: Callable[[str], Any], text: str) -> list[Reading]:
    try:
        found = reader(text)
    except Unreadable as why:
        assert str(why)
        return []
    return [one for _, one in found.values()] if isinstance(found, dict) else found
