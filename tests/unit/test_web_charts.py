"""The numbers behind the admins' charts: by days of the server, gaps, others together, files."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import pytest

from manager import line_history
from manager.counts import Held, Total
from manager.spans import Extent, LineSpan, Span
from manager.web import charts
from tests.support.web import Site

NOW = 1_790_000_123.0


pytestmark = pytest.mark.usefixtures("shanghai")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_hours_stand_by_user_and_day_with_the_others_last(site: Site) -> None:
    site.house.lifecycle.book.held = [
        Held("2026-11-24", "ann", 10.9),
        Held("2026-11-24", None, 90.0),
        Held("2026-11-23", "bob", 40.0),
        Held("2026-11-18", "ann", 20.0),
    ]
    found = charts.held_view(site.house, "7d")
    assert found["days"][0] == "2026-11-18"
    assert found["days"][-1] == "2026-11-24"
    assert found["names"] == ["bob", "ann", None]
    assert found["seconds"][1] == [20, 0, 0, 0, 0, 0, 10]
    assert found["seconds"][2][-1] == 90
    assert site.house.lifecycle.book.asked == [("2026-11-18", charts.NAMED)]


def test_work_idleness_and_the_rest_come_to_what_was_held(site: Site) -> None:
    site.house.lifecycle.book.all["day"] = [
        Total("2026-11-23", 2, 100.0, 60.0, 20.0, 5.0, 3, 0, None)
    ]
    found = charts.worked_view(site.house, "7d")
    series = ("worked_seconds", "idle_seconds", "rest_seconds", "idle_share")
    assert [found[name][5] for name in series] == [60, 20, 20, 25]
    assert [found[name][6] for name in series] == [0, 0, 0, None]


def test_days_of_cards_begin_at_the_server_s_midnight(site: Site) -> None:
    midnight = 1_789_920_000
    use = {"utilisation": Extent(0, 41.6, 100)}
    site.house.card_history.kept[0] = [Span(0, 900, midnight, 9, "ok", 1, use)]
    found = charts.cards_view(site.house, "30d", NOW)
    assert found["cards"] == [1]
    assert found["at"][-1] == midnight
    assert found["use"][0][found["at"].index(midnight)] == 42
    assert [use for use in found["use"][0] if use is not None] == [42]
    assert len(found["at"]) == 30


def test_cards_of_which_nothing_is_known_are_not_drawn(site: Site) -> None:
    assert charts.cards_view(site.house, "90d", NOW)["cards"] == []


@pytest.mark.parametrize("period", charts.PERIODS)
def test_the_line_s_grid_is_even_with_gaps(site: Site, period: str) -> None:
    span_s = line_history.PERIODS[period].span_s
    at = int(NOW) // span_s * span_s
    site.house.line_history.kept = [LineSpan(span_s, at, 4, 6, 3, 90.5)]
    found = charts.line_view(site.house, period, NOW)
    assert len(found["at"]) * span_s == charts.PERIODS[period] * 86_400
    assert found["at"][-1] == at
    assert len(found["at"]) <= 360
    names = ("length_mean", "length_high", "wait_high")
    assert [found[name][-1] for name in names] == [1.5, 3, 90]
    assert [found[name][-2] for name in names] == [None] * 3


@pytest.mark.parametrize("of", charts.CHARTS)
def test_each_chart_has_a_file(site: Site, of: str) -> None:
    now = int(time.time())
    use = {"utilisation": Extent(0, 41.6, 100)}
    site.house.card_history.kept[0] = [Span(0, 900, now // 900 * 900, 9, "ok", 1, use)]
    site.house.line_history.kept = [LineSpan(7200, now // 7200 * 7200, 4, 6, 3, 90.5)]
    site.house.lifecycle.book.held = [Held("2026-11-24", "=ann", 5400.0)]
    answer = site.visitor("admin").get(f"/charts.csv?of={of}&period=30d")
    assert answer.mimetype == "text/csv"
    assert f'filename="{of}-2026-11-24-30d.csv"' in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert len(rows) == (30 if of == "worked" else 1)
    if of == "held":
        assert rows == [{"day": "2026-11-24", "user": "'=ann", "held_hours": "1.5"}]


@pytest.mark.parametrize("path", ["/charts?period=1y", "/charts.csv?of=x", "/charts.csv"])
def test_what_there_is_not_is_refused(site: Site, path: str) -> None:
    assert site.visitor("admin").get(path).status_code == 400


def test_the_page_has_its_numbers_in_it(site: Site) -> None:
    site.house.lifecycle.book.held = [Held("2026-11-24", "ann", 5400.0)]
    page = site.visitor("admin").get("/charts?period=7d").text
    assert '"names": ["ann"]' in page
    assert '<option value="7d" selected>' in page
    assert 'href="/charts.csv?of=line&amp;period=7d"' in page
