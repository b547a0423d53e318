"""``/metrics``: who may read it, what stands in it, and that dashboard and alerts fit it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from manager.cards.reading import Reading as CardReading
from manager.cards.sampler import CardState
from manager.measures import Measures
from manager.settings import ROOT
from manager.states import State
from tests.support.web import Reading, Site, instance

NAME = re.compile(r"\b(?:comfyui_manager|npu_chip_info|DCGM)_\w+")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def read(
    site: Site, token: str | None = None
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    bearer = {"Authorization": f"Bearer {token or site.house.metrics_token}"}
    answer = site.visitor().get("/metrics", **bearer)
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Basic " + "m" * 64, "Bearer " + "m" * 63, "é"],
)
def test_nobody_reads_it_without_its_token(site: Site, given: str) -> None:
    answer = site.visitor("admin").get("/metrics", Authorization=given)
    assert answer.status_code == 401
    assert "comfyui_manager" not in answer.text


@pytest.mark.parametrize(
    ("network", "address", "status"),
    [
        ("10.1.0.0/16", "10.1.2.3", 200),
        ("10.1.0.0/16", "::ffff:10.1.2.3", 200),
        ("10.1.0.0/16", "10.2.2.3", 401),
        ("10.1.0.0/16", "::1", 401),
        ("fd00::/8", "fd00::7", 200),
        ("192.0.2.1", "192.0.2.1", 200),
    ],
)
def test_a_named_network_needs_no_token(
    tmp_path: Path, network: str, address: str, status: int
) -> None:
    site = Site(tmp_path, METRICS_NETWORKS=network)
    answer = site.visitor().client.get(
        "/metrics", base_url="http://manager.test:8880", environ_base={"REMOTE_ADDR": address}
    )
    assert answer.status_code == status


def test_rooms_are_read_when_asked(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    site.house.watch.readings[8001] = Reading(running=1, pending=3, idle_seconds=7.0)
    site.house.lifecycle.line.put(site.house.bob)
    found = read(site)
    port = (("card", "1"), ("port", "8001"))
    assert found["comfyui_manager_ports", (("state", "running"),)] == 1
    assert found["comfyui_manager_port_queue_pending", port] == 3
    assert found["comfyui_manager_port_idle_seconds", port] == 7
    assert found["comfyui_manager_line_length", ()] == 1
    assert found["comfyui_manager_gate_up", ()] == 1
    site.house.watch.readings[8001] = Reading(running=None, pending=None, responding=False)
    found = read(site)
    assert ("comfyui_manager_port_queue_pending", port) not in found
    assert found["comfyui_manager_port_responding", port] == 0


def test_nobody_s_name_or_token_is_in_it(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    text = str(read(site))
    assert "ann" not in re.sub("channel|cannot", "", text)
    assert "SECRET" not in text


def test_cards_have_the_names_of_the_vendors_exporters(site: Site) -> None:
    one = CardReading(
        0,
        health="OK",
        memory_used=3 << 30,
        memory_total=64 << 30,
        utilisation=41.0,
        temperature=50.0,
    )
    site.house.sampler.states[0] = CardState(one, 0.0, known=one)
    site.house.sampler.states[1] = CardState(CardReading(1, unknown="silent"), 0.0)
    found = read(site)
    assert found["npu_chip_info_utilization", (("id", "0"),)] == 41
    assert found["npu_chip_info_hbm_used_memory", (("id", "0"),)] == 3072
    assert found["npu_chip_info_health_status", (("id", "0"),)] == 1
    assert ("npu_chip_info_utilization", (("id", "1"),)) not in found
    assert ("npu_chip_info_power", (("id", "0"),)) not in found
    known = {
        labels[0][1]: value for (name, labels), value in found.items() if name.endswith("_known")
    }
    assert known == {"1": 1.0, "2": 0.0}


def test_starts_and_ends_are_counted_once_each() -> None:
    measures = Measures()
    idle, starting = instance(8001), instance(8001, State.STARTING)
    stopping = instance(8001, State.STOPPING, stop_reason="idle")
    measures.moved(idle, starting)
    measures.moved(starting, instance(8001, State.RUNNING))
    measures.moved(instance(8001, State.RUNNING), stopping)
    measures.moved(stopping, instance(8001, stop_reason="idle"))
    measures.moved(starting, instance(8001, State.FAILED))
    value = measures.registry.get_sample_value
    assert value("comfyui_manager_starts_total") == 1
    assert value("comfyui_manager_stops_total", {"reason": "idle"}) == 1
    assert value("comfyui_manager_stops_total", {"reason": "died"}) == 1
    assert value("comfyui_manager_stops_total", {"reason": "user"}) == 0


def test_lateness_and_reloads_are_counted() -> None:
    measures = Measures()
    measures.late(0.02)
    measures.reloaded(True)
    measures.reloaded(False)
    value = measures.registry.get_sample_value
    assert value("comfyui_manager_watch_lateness_seconds_bucket", {"le": "0.025"}) == 1
    assert value("comfyui_manager_watch_lateness_seconds_bucket", {"le": "0.01"}) == 0
    assert value("comfyui_manager_gate_reloads_total", {"outcome": "refused"}) == 1


def names_in(text: str) -> set[str]:
    return set(NAME.findall(text))


def known_names(site: Site) -> set[str]:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    site.house.watch.readings[8001] = Reading(running=0, pending=0)
    whole = CardReading(0, "x", "OK", 1, 2, 3.0, 4.0, 5.0)
    site.house.sampler.states[0] = CardState(whole, 0.0, known=whole)
    site.house.gate.value = dataclasses.replace(site.house.gate.value, certificate_until=1.0)
    return {name for name, _labels in read(site)}


def test_dashboard_and_alerts_name_only_what_there_is(site: Site) -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    alerts = (ROOT / "deploy" / "prometheus-alerts.yml").read_text(encoding="utf-8")
    rules = re.findall(r"^ +expr: (.+)$", alerts, re.MULTILINE)
    assert len(rules) == alerts.count("- alert:")
    known = known_names(site)
    for expression in (*asked, *rules):
        names = names_in(expression)
        assert names, expression
        assert names <= known, expression


def test_the_documents_list_every_name(site: Site) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    families = {
        re.sub(r"_(bucket|sum|count|created|total)$", "", name) for name in known_names(site)
    }
    listed = {re.sub(r"_total$", "", name) for name in names_in(text)}
    assert families <= listed
