"""npu-smi's output: every known layout is read by its headers, and nothing else is believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.cards.ascend import Table, read, read_map, read_table
from manager.cards.ascend_blocks import processes_of, read_blocks
from manager.cards.reading import MIB, CardProcess, Reading, Unreadable
from tests.support.card_samples import names, sample

GIB = 1 << 30


def _used(table: Table) -> list[int]:
    return [(one.memory_used or 0) // MIB for one in table.readings.values()]


# Layout, chips in order, their used memory in MiB, and how many have a list of processes.
TABLES = [
    ("npu-smi-info_1.8.21", [(n, 0) for n in range(8)], [0] * 8, 0),
    ("npu-smi-info_22.0.0", [(0, 0)], [994], 0),
    ("npu-smi-info_22.0.4", [(7, 0)], [1805], 0),
    ("npu-smi-info_23.0.0", [(24, 0)], [1832], 1),
    ("npu-smi-info_23.0.3", [(n, 0) for n in range(12, 16)], [52675, 52665, 52667, 52665], 4),
    ("npu-smi-info_23.0.5", [(0, 0), (7, 0)], [0, 0], 2),
    ("npu-smi-info_24.1.0.3", [(6, 0), (7, 0)], [2856, 2840], 2),
    ("npu-smi-info_25.2.0", [(2, 0), (2, 1)], [1529, 1412], 0),
    ("npu-smi-info_25.2.1", [(n, 0) for n in (0, 32, 32768, 32800)], [19435, 1910, 19562, 1909], 0),
    ("npu-smi-info_25.2.3", [(224, 0)], [1263], 0),
    (
        "npu-smi-info_25.5.1",
        [(npu, chip) for npu in (1, 2, 4, 5) for chip in (0, 1)],
        [1448, 1511, 1384, 1572, 1863, 1105, 1694, 1269],
        0,
    ),
    ("npu-smi-info_25.5.2", [(5, 0)], [2922], 1),
    (
        "npu-smi-info_26.1.0",
        [(n, 0) for n in range(8)],
        [8676, 3403, 3403, 3407, 3403, 3402, 3402, 3403],
        8,
    ),
    ("npu-smi-info_950", [(0, 0), (3, 0)], [1024, 2048], 2),
]


@pytest.mark.parametrize(("name", "chips", "used", "listed"), TABLES, ids=[t[0] for t in TABLES])
def test_every_layout_of_the_table_is_read(
    name: str, chips: list[tuple[int, int]], used: list[int], listed: int
) -> None:
    table = read_table(sample(name))
    assert list(table.readings) == chips
    assert _used(table) == used
    assert len(table.processes) == listed
    assert all(one.health and one.memory_total for one in table.readings.values())


def test_a_two_chip_card_has_its_own_numbers() -> None:
    table = read_table(sample("npu-smi-info_24.1.rc3.7"))
    assert len(table.readings) == 16
    first, second = table.readings[0, 0], table.readings[0, 1]
    assert (first.power, second.power) == (178.9, None)
    assert (first.memory_used, second.memory_used) == (3412 * MIB, 3189 * MIB)
    assert set(table.processes.values()) == {()}
    # The column Phy-ID is the machine's number, which need not be what the driver takes here.
    assert table.device_ids == {}


def test_every_field_of_one_card() -> None:
    table = read_table(sample("npu-smi-info_26.1.0"))
    assert table.readings[0, 0] == Reading(
        device=-1,
        name="910B3",
        health="ok",
        memory_used=8676 * MIB,
        memory_total=65536 * MIB,
        utilisation=0.0,
        temperature=50.0,
        power=100.0,
    )
    assert table.processes[0, 0] == (CardProcess(485946, 5175 * MIB, "pytest"),)
    assert table.processes[1, 0] == ()


def test_an_alarm_is_seen_and_a_containers_own_number_is_kept() -> None:
    table = read_table(sample("npu-smi-info_950"))
    assert [one.health for one in table.readings.values()] == ["ok", "alarm"]
    assert [one.utilisation for one in table.readings.values()] == [20.0, 0.0]
    assert table.processes[0, 0] == (
        CardProcess(1001, 256 * MIB, "python"),
        CardProcess(1002, 512 * MIB, "python", inside=101),
    )


@pytest.mark.parametrize(
    ("fragment", "count"),
    [("npu-smi-process-table_fragment_26", 1), ("npu-smi-process-table_fragment_ghost", 8)],
)
def test_a_list_of_processes_is_read_below_a_table_and_refused_alone(
    fragment: str, count: int
) -> None:
    with pytest.raises(Unreadable, match="shows no card"):
        read_table(sample(fragment))
    cards = sample("npu-smi-info_26.1.0").split("| NPU     Chip")[0]
    assert len(read_table(cards + sample(fragment)).processes[0, 0]) == count


@pytest.mark.parametrize("name", names("npu-smi-error"))
def test_a_refusal_is_told_in_the_tools_own_words(name: str) -> None:
    for reader in (read_table, read_map):
        with pytest.raises(Unreadable, match=r"ret is -80[02][05]"):
            reader(sample(name))


MAPS = [
    ("npu-smi-info-m_310P", {(4, 0): 0}),
    ("npu-smi-info-m_910B3", {(0, 0): 0, (1, 0): 1}),
    ("npu-smi-info-m_910_4", {(n, 0): n for n in range(4)}),
    ("npu-smi-info-m_950", {(0, 0): 0}),
    ("npu-smi-info-m_A3", {(0, 0): 0, (0, 1): 1, (1, 0): 2}),
    ("npu-smi-info-m_container", {(8, 0): 0, (9, 0): 1}),
]


@pytest.mark.parametrize(("name", "expected"), MAPS, ids=[m[0] for m in MAPS])
def test_the_map_gives_each_chip_its_logic_id(
    name: str, expected: dict[tuple[int, int], int]
) -> None:
    assert read_map(sample(name)) == expected


def test_a_map_that_names_one_id_twice_is_not_believed() -> None:
    text = sample("npu-smi-info-m_container").replace("9 0 1", "9 0 0")
    with pytest.raises(Unreadable, match="makes no sense"):
        read_map(text)


def test_usages_and_common_name_their_chip_after_and_before_the_block() -> None:
    a3 = read_blocks(sample("npu-smi-usages_A3"))
    assert [one.utilisation for one in a3.values()] == [65.0, 58.0]
    assert a3[1].memory == (int(65536 * MIB * 0.16), 65536 * MIB)
    assert read_blocks(sample("npu-smi-usages_910_ddr"))[0].memory == (0, 32 * GIB)
    assert read_blocks(sample("npu-smi-usages_23"))[0].memory == (0, 32 * GIB)
    assert read_blocks(sample("npu-smi-usages_310P"))[0].memory[1] == 21534 * MIB
    busy = read_blocks(sample("npu-smi-common_910B"))[0]
    assert (busy.utilisation, busy.temperature, busy.power) == (70.0, 66.0, 331.1)
    assert read_blocks(sample("npu-smi-common_910."))[0].power == 69.0
    # The temperature is the chip's; the power stands in its controller's block.
    mcu = read_blocks(sample("npu-smi-common_310P"))[0]
    assert (mcu.temperature, mcu.power) == (43.0, 13.4)


@pytest.mark.parametrize(
    "name", ["npu-smi-board", "npu-smi-health", "npu-smi-usages_910B1", "npu-smi-error_dcmi-8020"]
)
def test_a_block_that_names_no_chip_is_refused(name: str) -> None:
    with pytest.raises(Unreadable, match="no chip"):
        read_blocks(sample(name))


def test_the_processes_of_each_chip_are_read_also_without_a_name() -> None:
    assert processes_of(sample("npu-smi-proc-mem")) == {
        0: (),
        1: (CardProcess(3229095, 48208 * MIB),),
    }
    assert processes_of("Chip ID : 0\n") == {}


def _tool(answers: dict[str, str]) -> Callable[[Sequence[str]], str]:
    def run(command: Sequence[str]) -> str:
        words = " ".join(command[1:])
        if words not in answers:
            raise Unreadable(f"no answer to {words}")
        return answers[words]

    return run


def test_a_card_is_known_by_its_logic_id() -> None:
    table = sample("npu-smi-info_24.1.0.3").replace("| 6  ", "| 8  ").replace("| 7  ", "| 9  ")
    table = table.replace("in NPU 6", "in NPU 8").replace("in NPU 7", "in NPU 9")
    answers = {"info": table, "info -m": sample("npu-smi-info-m_container")}
    found = read(_tool(answers))
    assert [(one.device, one.memory_used, one.processes) for one in found] == [
        (0, 2856 * MIB, ()),
        (1, 2840 * MIB, ()),
    ]


def test_without_a_map_only_the_device_column_is_taken_for_it() -> None:
    found = read(_tool({"info": sample("npu-smi-info_25.2.1")}))
    assert [one.device for one in found] == [0, 1, 2, 3]
    assert {one.processes for one in found} == {None}
    for name in ("npu-smi-info_24.1.rc3.7", "npu-smi-info_25.5.2", "npu-smi-info_1.8.21"):
        with pytest.raises(Unreadable, match="no answer to info -m"):
            read(_tool({"info": sample(name)}))


def test_what_the_table_lacks_is_asked_for() -> None:
    table = sample("npu-smi-info_22.0.4").replace("1805 / 21527", "-    / -    ")
    usages = sample("npu-smi-usages_310P").replace(": 1\nChip Count", ": 7\nChip Count")
    answers = {
        "info": table,
        "info -t usages -i 7": usages,
        "info -t common -i 7": sample("npu-smi-common_310P"),
        "info -t proc-mem -i 7": "No process in device.\nChip ID : 0\n",
    }
    with pytest.raises(Unreadable):
        read(_tool({}))
    with pytest.raises(Unreadable, match="does not fit"):
        read(_tool(answers))
    answers["info"] = table.replace("-    / -    ", "0 / 0        ")
    (one,) = read(_tool(answers))
    assert (one.memory_total, one.power, one.processes) == (21534 * MIB, 13.4, ())


def test_a_map_of_other_cards_is_no_map() -> None:
    answers = {"info": sample("npu-smi-info_25.5.2"), "info -m": sample("npu-smi-info-m_910B3")}
    with pytest.raises(Unreadable, match="different cards"):
        read(_tool(answers))


MIXED = st.sampled_from([sample(name) for name in names("npu-smi")])
READERS = (read_table, read_map, read_blocks)


def _try(reader: Callable[[str], object], text: str) -> None:
    try:
        reader(text)
    except Unreadable as why:
        assert str(why)


@st.composite
def _mutilated(draw: st.DrawFn) -> str:
    """A sample with a piece cut out, doubled or overwritten."""
    text = draw(MIXED)
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 400)))
    put = draw(st.text(max_size=30) | st.just("") | st.just(text[start:end] * 2))
    return text[:start] + put + text[end:]


@given(
    _mutilated()
    | st.text()
    | st.lists(st.text("| NPUChip0-+/\n:HealthName"), max_size=9).map("".join)
)
def test_no_text_breaks_a_reader_or_makes_a_card_free(text: str) -> None:
    for reader in READERS:
        _try(reader, text)
    processes_of(text)
    try:
        table = read_table(text)
    except Unreadable:
        return
    for (npu, _), listed in table.processes.items():
        # «None» is never made out of silence: the tool has named the NPU itself.
        if not listed:
            assert f"in NPU {npu}" in " ".join(text.split()) or any(
                other and chip[0] == npu for chip, other in table.processes.items()
            )
    for one in table.readings.values():
        assert one.memory_used is None or 0 <= one.memory_used <= (one.memory_total or 0)
        assert one.utilisation is None or 0 <= one.utilisation <= 100
