"""What is known of a cluster's machines, what that closes, and how pages and numbers say it."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from manager import bootstrap
from manager.addresses import AUTHORITY
from manager.cluster import NOT_ASKED, SILENT, Cluster
from manager.doctor import cluster as doctor
from manager.doctor import programs
from manager.errors import EngineSilent, NoFreeCard, SettingsError
from manager.launcher.engine import EngineFacts, EngineNode
from manager.launcher.far.authority import Authority
from manager.launcher.protocol import Liveness, ProcessReport
from manager.ports import read_ports
from manager.records import Address, Node
from manager.settings import load
from manager.states import State
from tests.support.house import House
from tests.support.web import Reading, Site, instance

PORTS = "8001:9001:9081:1::::gpu-a,8002:9002:9082:2::::gpu-b,8003:9003:9083:3::::any"
ROWS = read_ports(PORTS)
A = EngineNode("gpu-a", "10.0.0.1", alive=True, cards={"ascend": 8}, held={"ascend": 3})
B = EngineNode("gpu-b", "10.0.0.2", alive=True, cards={"ascend": 4})
NOW = 1_790_000_000.0


class Told:
    """An engine that says what the test wants."""

    def __init__(self, *nodes: EngineNode) -> None:
        self.facts: EngineFacts | None = EngineFacts("ray", "2.60.0", True, nodes)
        self.error: Exception | None = None
        self.asked = 0

    def __call__(self) -> EngineFacts | None:
        self.asked += 1
        if self.error:
            raise self.error
        return self.facts


def cluster_of(told: Told, kind: str = "ascend") -> Cluster:
    levels = (Node("gpu-a", "user", 7, ("supervisor",), {}, root=True),)
    return Cluster(ROWS, kind, told, lambda: levels, clock=lambda: NOW)


def test_without_an_engine_nothing_is_asked_and_nothing_closed() -> None:
    cluster = Cluster(read_ports("8001:9001:9081:1"), "cpu", None)
    cluster.look()
    assert (cluster.heard(), cluster.unavailable) == (None, {})
    assert cluster.where(read_ports("8001:9001:9081:1")[0]) is None


def test_before_the_first_answer_nothing_is_given_out() -> None:
    told = Told(A, B)
    cluster = cluster_of(told)
    assert set(cluster.unavailable.values()) == {NOT_ASKED}
    assert set(cluster.unavailable) == {8001, 8002, 8003}
    cluster.look()
    assert cluster.unavailable == {}


@pytest.mark.parametrize("error", [None, EngineSilent("no"), OSError("no route")])
def test_a_silent_engine_closes_all_and_forgets_nothing(error: Exception | None) -> None:
    told = Told(A, B)
    cluster = cluster_of(told)
    cluster.look()
    told.facts, told.error = None, error
    cluster.look()
    assert set(cluster.unavailable.values()) == {SILENT}
    heard = cluster.heard()
    assert heard is not None
    assert (heard.answers, heard.silent_since, set(heard.nodes)) == (False, NOW, {"gpu-a", "gpu-b"})
    told.facts, told.error = EngineFacts("ray", "2.60.0", True, (A, B)), None
    cluster.look()
    assert cluster.unavailable == {}


@pytest.mark.parametrize(
    ("node", "says"),
    [
        (dataclasses.replace(B, alive=False), "there is no answer of node gpu-b"),
        (dataclasses.replace(B, alive=None), "nobody can tell how node gpu-b is"),
        (dataclasses.replace(B, cards={"cuda": 4}), "node gpu-b has no card of kind ascend"),
        (dataclasses.replace(B, name="other"), "the engine of the cluster knows no node gpu-b"),
    ],
)
def test_a_machine_that_is_not_known_to_be_there_gets_nothing(node: EngineNode, says: str) -> None:
    cluster = cluster_of(Told(A, node))
    cluster.look()
    assert cluster.unavailable == {8002: says}


def test_a_row_for_any_machine_needs_one_that_is_there() -> None:
    cluster = cluster_of(
        Told(dataclasses.replace(A, alive=False), dataclasses.replace(B, cards={}))
    )
    cluster.look()
    assert cluster.unavailable[8003] == "no node with a card of kind ascend is there"


def test_processors_need_not_be_counted_as_cards() -> None:
    bare = (dataclasses.replace(A, cards={}), dataclasses.replace(B, cards={}))
    cluster = cluster_of(Told(*bare), "cpu")
    cluster.look()
    assert cluster.unavailable == {}


def test_nobody_gets_a_port_of_a_machine_that_is_not_there(tmp_path: Path) -> None:
    house = House(tmp_path, LAUNCHER="ray", PORTS=PORTS)
    told = Told(A, dataclasses.replace(B, alive=False))
    house.lifecycle.cluster = cluster_of(told)
    ann, ben = house.user("ann", 8002), house.user("ben", 8001)
    house.lifecycle.cluster.look()
    with pytest.raises(NoFreeCard) as refused:
        house.lifecycle.start(ann)
    assert refused.value.params["why"] == "there is no answer of node gpu-b"
    told.facts = None
    house.lifecycle.cluster.look()
    with pytest.raises(NoFreeCard):
        house.lifecycle.start(ben)
    told.facts = EngineFacts("ray", "2.60.0", True, (A, B))
    house.lifecycle.cluster.look()
    assert house.lifecycle.start(ann).port == 8002
    house.close()


@pytest.mark.parametrize(
    ("liveness", "says"),
    [
        (Liveness.QUEUED, "no machine of the cluster had a free card"),
        (Liveness.UNKNOWN, "nobody could tell whether it has begun"),
    ],
)
def test_a_start_without_a_place_says_so_when_its_time_is_over(
    tmp_path: Path, liveness: Liveness, says: str
) -> None:
    house = House(tmp_path)
    row = house.lifecycle.start(house.user("ann", 8001))
    house.step(8001)
    house.launcher.reports[row.launch_id or ""] = ProcessReport(liveness)
    house.pass_time(house.settings.start_timeout + 1)
    assert house.step(8001) == "ending"
    after = house.row(8001)
    assert (after.state, after.stop_reason) == (State.STOPPING, "overdue")
    assert says in (after.fault or "")
    house.close()


def test_a_row_for_any_machine_says_where_it_answers() -> None:
    cluster = cluster_of(Told(A, B))
    cluster.look()
    named, _, free = ROWS
    at = instance(8003, State.RUNNING, address=Address("10.0.0.2", 8003, "https"))
    assert cluster.where(named, at) == "gpu-a"
    assert cluster.where(free) == "any"
    assert cluster.where(free, at) == "gpu-b"
    elsewhere = dataclasses.replace(at, address=Address("10.0.0.9", 8003, "https"))
    assert cluster.where(free, elsewhere) == "10.0.0.9"


def test_an_engine_needs_to_be_told_the_kind_of_its_cards(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="CARD_KIND = auto looks at this machine"):
        load({"LAUNCHER": "ray", "PORTS": PORTS}, root=tmp_path)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    built = Site(tmp_path, LAUNCHER="ray", PORTS=PORTS)
    built.house.cluster = cluster_of(Told(A, dataclasses.replace(B, alive=False, why="lost")))
    built.house.cluster.look()
    built.house.lifecycle.put(
        8003,
        State.RUNNING,
        built.house.ann,
        address=Address("10.0.0.1", 8003, "https"),
        ready_at=NOW,
    )
    return built


def overview(site: Site) -> Mapping[str, Any]:
    found: Mapping[str, Any] = site.visitor("admin").get("/api/admin/overview").get_json()
    return found


def test_an_admin_sees_the_machines(site: Site) -> None:
    told = overview(site)
    assert [port["node"] for port in told["ports"]] == ["gpu-a", "gpu-b", "gpu-a"]
    assert [port["standing"] for port in told["ports"]] == ["free", "elsewhere", "running"]
    assert told["ports"][1]["note"]["text"] == "there is no answer of node gpu-b"
    # Nobody looks at cards of other machines: not zero, but not known.
    assert {(card["measured"], card["utilisation"]) for card in told["cards"]} == {(False, None)}
    assert told["cluster"] == {
        "kind": "ray",
        "version": "2.60.0",
        "guarded": True,
        "answers": True,
        "silent_since": None,
        "nodes": [
            {
                "name": "gpu-a",
                "host": "10.0.0.1",
                "standing": "there",
                "why": "",
                "cards": 8,
                "held": 3,
                "level": "user",
            },
            {
                "name": "gpu-b",
                "host": "10.0.0.2",
                "standing": "silent",
                "why": "lost",
                "cards": 4,
                "held": None,
                "level": None,
            },
        ],
    }


def test_while_the_engine_is_silent_nobody_can_tell_how_machines_are(site: Site) -> None:
    told = Told(A)
    cluster = cluster_of(told)
    cluster.look()
    told.facts = None
    cluster.look()
    site.house.cluster = cluster
    shown = overview(site)["cluster"]
    assert (shown["answers"], shown["silent_since"]) == (False, NOW)
    assert [(one["standing"], one["held"]) for one in shown["nodes"]] == [("unknown", None)]


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", ["Machines of the cluster", "Ray 2.60.0", "3 of 8", "Card 2 · node gpu-b"]),
        ("zh-CN", ["集群的节点", "Ray 2.60.0", "8 张中 3 张", "卡2 · 节点 gpu-b", "无回应"]),
    ],
)
def test_the_admins_page_says_so_in_both_languages(
    site: Site, language: str, sentences: list[str]
) -> None:
    page = site.visitor("admin", **{"Accept-Language": language}).get("/admin").text
    for sentence in sentences:
        assert sentence in page
    assert site.visitor("admin").get("/wall").status_code == 200


def test_a_user_sees_where_his_work_runs(site: Site) -> None:
    page = site.visitor("ann", **{"Accept-Language": "zh-CN"}).get("/").text
    assert "卡3 · 节点 gpu-a" in page


def test_a_user_is_told_why_nothing_can_be_started(site: Site) -> None:
    silent = Told()
    silent.facts = None
    site.house.cluster = cluster_of(silent)
    site.house.cluster.look()
    site.house.lifecycle.unavailable = dict.fromkeys((8001, 8002, 8003), SILENT)
    assert site.visitor("bob").get("/api/user/state").get_json()["engine_silent"] is True
    assert "集群引擎暂无回应" in site.visitor("bob", **{"Accept-Language": "zh-CN"}).get("/").text


def test_numbers_name_the_machine(site: Site) -> None:
    site.house.watch.readings[8003] = Reading()
    text = site.visitor().get("/metrics", Authorization=f"Bearer {site.house.metrics_token}").text
    assert 'comfyui_manager_node_cards_held{node="gpu-a"} 3.0' in text
    assert 'comfyui_manager_node_up{node="gpu-b"} 0.0' in text
    assert 'comfyui_manager_node_cards_held{node="gpu-b"}' not in text
    assert 'comfyui_manager_engine_up{engine="ray",version="2.60.0"} 1.0' in text
    assert 'comfyui_manager_port_queue_running{card="3",node="gpu-a",port="8003"}' in text


class Answering(BaseHTTPRequestHandler):
    """A stand-in for Ray's head that knows one machine and asks nobody who he is."""

    def do_GET(self) -> None:
        node = {
            "node_id": "f",
            "node_ip": "10.0.0.1",
            "state": "ALIVE",
            "resources_total": {"NPU": 1},
        }
        told: dict[str, object] = {
            "/api/version": {"ray_version": "2.60.0"},
            "/api/jobs/": [],
            "/api/v0/nodes": {"data": {"result": {"result": [node]}}},
        }
        body = json.dumps(told.get(self.path.partition("?")[0], {})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Keep the output quiet."""


def test_the_doctor_looks_at_the_engine_and_the_machines_it_is_told_of(tmp_path: Path) -> None:
    table = "8001:9001:9081:1::::10.0.0.1,8002:9002:9082:2::::10.0.0.1,8003:9003:9083:3::::gpu-z"
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        environ = {
            "LAUNCHER": "ray",
            "CARD_KIND": "ascend",
            "PORTS": table,
            "RAY_ADDRESS": f"http://127.0.0.1:{server.server_address[1]}",
        }
        of = load(environ, root=tmp_path)
        found = [(one.level, one.case) for one in doctor.cluster(of)]
        server.shutdown()
        serving.join()
    assert found == [
        ("ok", "ok"),
        ("warning", "open"),
        ("warning", "few_cards"),
        ("problem", "no_node"),
    ]
    assert [(one.level, one.case) for one in doctor.cluster(of)] == [("problem", "silent")]
    assert not list(programs.card_tool(of, lambda _words: ""))


def test_the_doctor_knows_storage_that_machines_can_share(tmp_path: Path) -> None:
    data = tmp_path / "with space" / "data"
    data.mkdir(parents=True)
    mounts = tmp_path / "mounts"
    point = str(tmp_path / "with space").replace(" ", "\\040")
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {point} nfs4 rw 0 0\n")
    assert doctor.kind_of(data, mounts) == "nfs4"
    assert doctor.kind_of(tmp_path, mounts) == "ext4"
    assert doctor.kind_of(tmp_path, tmp_path / "none") == ""


def test_nothing_is_said_of_a_cluster_where_there_is_none(tmp_path: Path) -> None:
    of = load({}, root=tmp_path)
    assert not [*doctor.cluster(of), *doctor.shared(of)]


def test_the_program_knows_instances_elsewhere_by_its_own_authority(tmp_path: Path) -> None:
    of = load({}, root=tmp_path)
    certificate = of.data_dir / AUTHORITY
    certificate.parent.mkdir(parents=True)
    Authority(certificate).ensure()
    asking = bootstrap._comfyui(of)._connections._trusting()
    assert [one["subject"] for one in asking.get_ca_certs()] != []
