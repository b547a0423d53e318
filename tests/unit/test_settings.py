"""Settings: the client's defaults, three sources in order, and refusals that name themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager import settings
from manager.errors import SettingsError
from manager.ports import ANY_NODE, check_nodes, read_ports, short, write_ports
from manager.setting_kinds import Words


def _load(tmp_path: Path, text: str = "", **environ: str) -> settings.Settings:
    config = tmp_path / "manager.toml"
    config.write_text(text, encoding="utf-8")
    return settings.load(environ, config, root=tmp_path)


def test_defaults_are_the_clients() -> None:
    found = settings.load({}, root=Path("/nowhere"))
    assert found.comfyui_path == Path("/mnt/sdb1/ComfyUI")
    assert (found.manager_port, found.idle_timeout, found.queue_check_interval) == (8880, 600, 1)
    assert found.max_workers == 8
    assert [(r.port, r.external_port, r.workspace_port, r.card) for r in found.ports] == [
        (8001, 9001, 9081, 1),
        (8002, 9002, 9082, 2),
        (8003, 9003, 9083, 3),
        (8004, 9004, 9084, 4),
    ]
    assert [row.device for row in found.ports] == [0, 1, 2, 3]


def test_the_file_beats_defaults_and_the_environment_beats_the_file(tmp_path: Path) -> None:
    text = "IDLE_TIMEOUT = 30\nMAX_WORKERS = 4\n"
    found = _load(tmp_path, text, IDLE_TIMEOUT="45")
    assert (found.idle_timeout, found.max_workers) == (45, 4)


def test_relative_paths_count_from_the_project(tmp_path: Path) -> None:
    assert _load(tmp_path, 'DATA_DIR = "x"').data_dir == tmp_path / "x"


def test_shared_folders_are_a_list_in_the_file_and_a_line_in_the_environment(
    tmp_path: Path,
) -> None:
    found = _load(tmp_path, 'SHARED_READABLE = ["/mnt/models", "more"]', SHARED_WRITABLE="/a:b c:")
    assert found.shared_readable == (Path("/mnt/models"), tmp_path / "more")
    assert found.shared_writable == (Path("/a"), tmp_path / "b c")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHARED_READABLE", "~no-such-account-here"),
        ("SHARED_WRITABLE", "/a\n/b"),
        ("ISOLATION", "docker"),
        ("ISOLATION_UID_BASE", "0"),
        ("INSTANCE_NICE", "-1"),
        ("MANAGER_PORT", "0"),
        ("MANAGER_PORT", "70000"),
        ("MANAGER_PORT", "eighty"),
        ("IDLE_TIMEOUT", "-1"),
        ("IDLE_TIMEOUT", ""),
        ("QUEUE_CHECK_INTERVAL", "nan"),
        ("QUEUE_CHECK_INTERVAL", "inf"),
        ("MAX_WORKERS", "8.5"),
        ("CARD_KIND", "npu"),
        ("ASYNC_MODE", "asyncio"),
        ("EXTERNAL_IP", "a b"),
        ("EXTERNAL_IP", "http://x"),
        ("EXTERNAL_IP", "x\ny"),
        ("COOKIE_SECURE", "maybe"),
        ("COMFYUI_PATH", "~no-such-account-here"),
        ("COMFYUI_ARGS", '"open'),
        ("COMFYUI_ARGS", "--lowvram --listen 0.0.0.0"),
        ("COMFYUI_ARGS", "--por=1"),
        ("PORTS", "8001:9001"),
        ("PORTS", ""),
        ("PORTS", "8001:9001:9081:1:x"),
        ("PORTS", "8001:9001:9081:0"),
        ("PORTS", "8001:9001:9081:1::::-x"),
        ("PORTS", "8001:9001:9081:1::::a b"),
    ],
)
def test_a_bad_value_names_itself_and_what_is_allowed(
    tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        _load(tmp_path, **{name: value})
    assert name in str(refusal.value)
    assert repr(value) in str(refusal.value)
    assert settings.describe(name)["allowed"] in str(refusal.value)


@pytest.mark.parametrize("text", ["IDLE_TIMOUT = 3", "idle_timeout = 3", "[manager]\nx = 1"])
def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="unknown setting"):
        _load(tmp_path, text)


def test_an_unknown_manager_name_in_the_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="MANAGER_PROT"):
        _load(tmp_path, MANAGER_PROT="1")


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not valid TOML"):
        _load(tmp_path, "IDLE_TIMEOUT: 3")


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no file"):
        settings.load({"MANAGER_CONFIG": "missing.toml"}, root=tmp_path)


def test_every_row_of_the_table_can_change(tmp_path: Path) -> None:
    text = """
        [[PORTS]]
        port = 8101
        external_port = 9101
        workspace_port = 9181
        card = 7
        device = 2
        public_workspace_port = 443
    """
    (row,) = _load(tmp_path, text).ports
    assert (row.port, row.card, row.device) == (8101, 7, 2)
    assert (row.public_external_port, row.public_workspace_port) == (9101, 443)


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("8001:9001:9081:1,8001:9002:9082:2", "port 8001"),
        ("8001:9001:9081:1,8002:9001:9082:2", "port 9001"),
        ("8001:9001:9081:1,8002:9002:9082:1", "card 1"),
        ("8001:9001:9081:1:0,8002:9002:9082:2:0", "device 0"),
        ("8001:9001:9081:1::::a,8002:9002:9082:1::::b", "card 1"),
        ("8001:8880:9081:1", "port 8880"),
    ],
)
def test_nothing_stands_twice_in_the_table(tmp_path: Path, table: str, what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        _load(tmp_path, PORTS=table)


def test_demo_stands_in_where_there_is_no_main(tmp_path: Path) -> None:
    found = _load(tmp_path, COMFYUI_PATH=str(tmp_path))
    assert found.demo
    (tmp_path / "main.py").touch()
    assert not found.demo


def test_the_table_is_printed_as_it_can_be_given(tmp_path: Path) -> None:
    table = "8101:9101:9181:7:2:9101:443,8102:9102:9182:8:0:9102:9182"
    found = _load(tmp_path, PORTS=table).ports
    assert write_ports(found) == table


ON_NODES = "8101:9101:9181:1::::gpu-b,8102:9102:9182:2::::any,8103:9103:9183:3::::fd00::2"


def test_a_row_may_name_the_machine_that_has_its_card() -> None:
    rows = read_ports(ON_NODES)
    assert [row.node for row in rows] == ["gpu-b", ANY_NODE, "fd00::2"]
    assert [row.wanted_node for row in rows] == ["gpu-b", None, "fd00::2"]
    assert read_ports(write_ports(rows)) == rows
    assert ",".join(map(short, rows)) == ON_NODES
    table = {"port": 8101, "external_port": 9101, "workspace_port": 9181, "card": 1}
    assert read_ports([{**table, "node": "gpu-b"}]) == rows[:1]
    check_nodes(rows, "ray")


def test_this_machines_launcher_knows_no_other_machine(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="row 8101 names the node gpu-b, but LAUNCHER = local"):
        _load(tmp_path, PORTS=ON_NODES)


def test_an_engine_is_told_the_machine_of_each_row() -> None:
    rows = read_ports("8101:9101:9181:1::::any,8102:9102:9182:2")
    with pytest.raises(SettingsError, match="row 8102 names no node, but LAUNCHER = slurm"):
        check_nodes(rows, "slurm")


@given(st.dictionaries(st.sampled_from(settings.names()), st.text(max_size=20), max_size=3))
def test_no_value_ends_in_another_error(environ: dict[str, str]) -> None:
    try:
        settings.load(environ, root=Path("/nowhere"))
    except SettingsError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("card,workspace", ("workspace", "card")),
        (" card , card ", ("card",)),
        ("", ()),
        (["workspace"], ("workspace",)),
        ([], ()),
    ],
)
def test_words_are_read_once_each_in_their_order(raw: object, expected: tuple[str, ...]) -> None:
    assert Words("workspace", "card").read(raw) == expected


@pytest.mark.parametrize("raw", ["queue", "card,tab", [1], 1, None, True])
def test_other_words_are_refused(raw: object) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        Words("workspace", "card").read(raw)
