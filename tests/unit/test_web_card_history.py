"""The cards' history for the admins' charts: an even grid with gaps, and a file of it."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

import pytest

from manager.card_history import PERIODS
from manager.spans import METRICS, Extent, Span
from manager.web.card_history import view
from tests.support.web import Site

NOW = 1_790_000_123.0
GIB = 1 << 30
HALF = {"memory_used": Extent(GIB, 2.04 * GIB, 3 * GIB), "temperature": Extent(40, 41.26, 43)}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def keep(site: Site, *ago: int, now: float = NOW) -> None:
    starts = [int(now) // 60 * 60 - seconds for seconds in ago]
    site.house.card_history.kept[0] = [Span(0, 60, at, 12, "ok", 64 * GIB, HALF) for at in starts]


@pytest.mark.parametrize("period", PERIODS)
def test_the_grid_is_even_and_ends_now(site: Site, period: str) -> None:
    keep(site, 0, 7200)
    found = view(site.house, site.house.cards[0], period, NOW)
    steps = {b - a for a, b in zip(found["at"], found["at"][1:], strict=False)}
    assert steps == {found["span_seconds"]}
    assert len(found["at"]) * found["span_seconds"] == PERIODS[period].seconds
    assert found["at"][-1] <= NOW < found["at"][-1] + found["span_seconds"]
    assert len(found["at"]) <= 360
    for metric in METRICS:
        assert {len(found[metric][part]) for part in ("low", "mean", "high")} == {len(found["at"])}


def test_unknown_is_none_and_never_zero(site: Site) -> None:
    keep(site, 0, 3600)
    found = view(site.house, site.house.cards[0], "24h", NOW)
    known = [n for n, health in enumerate(found["health"]) if health is not None]
    assert len(known) == 2
    assert found["temperature"]["mean"][known[0]] == 41.3
    assert found["memory_used"]["low"][known[1]] == GIB
    assert found["memory_total"] == 64 * GIB
    for n in range(len(found["at"])):
        assert (found["temperature"]["mean"][n] is None) == (n not in known)
    assert set(found["utilisation"]["mean"]) == {None}


def test_a_card_without_a_history_has_an_empty_one(site: Site) -> None:
    answer = site.visitor("admin").get("/api/admin/cards/history?card=4&period=7d")
    found: dict[str, Any] = answer.json or {}
    assert answer.status_code == 200
    assert (found["card"], found["period"], found["memory_total"]) == (4, "7d", None)
    assert set(found["health"]) == {None}


@pytest.mark.parametrize(
    ("query", "field"),
    [("card=9", "card"), ("card=x", "card"), ("card=1&period=1y", "period"), ("card=", "card")],
)
def test_what_there_is_not_is_refused(site: Site, query: str, field: str) -> None:
    answer = site.visitor("admin").get(f"/api/admin/cards/history?{query}")
    assert answer.status_code == 400
    assert field in answer.text


@pytest.mark.parametrize("path", ["history", "history.csv"])
def test_it_is_for_admins_alone(site: Site, path: str) -> None:
    assert site.visitor("ann").get(f"/api/admin/cards/{path}").status_code == 403
    assert site.visitor().get(f"/api/admin/cards/{path}").status_code == 401


def test_the_file_has_the_known_spans(site: Site) -> None:
    keep(site, 0, 86_000, now=time.time())
    answer = site.visitor("admin").get("/api/admin/cards/history.csv?card=1&period=24h")
    assert "card-1-24h.csv" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert len(rows) == 2
    assert rows[0]["temperature_mean"] == "41.3"
    assert rows[0]["memory_used_high"] == str(3 * GIB)
    assert (rows[0]["utilisation_low"], rows[0]["health"]) == ("", "ok")
    assert rows[0]["at"].endswith(time.strftime("%z")[:3] + ":" + time.strftime("%z")[3:])


def test_the_panel_is_there_only_where_a_tool_is_asked(site: Site, tmp_path: Path) -> None:
    page = site.visitor("admin").get("/admin").text
    assert "data-card-history" in page
    # What draws is not part of the first load.
    assert 'src="/static/vendor/uplot' not in page
    assert 'href="/static/vendor/uplot' not in page
    plain = Site(tmp_path)
    plain.house.cards = [
        card.__class__(card.card, "cpu", card.device, card.port) for card in plain.house.cards
    ]
    assert "data-card-history" not in plain.visitor("admin").get("/admin").text
