"""The charts for admins: who held the cards, how busy they were, the line, work against idleness.

All four are read off the green loop, as sums that SQLite makes: what comes back is at most a row
for each day and named user, each span of the line, and each span and card.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from manager import days, line_history, runtime
from manager.counts import Held
from manager.errors import BadInput
from manager.web.house import Manager
from manager.web.services import services
from manager.web.usage import MOST_IN_CSV, csv_text, total_view

admin_charts = Blueprint("admin_charts", __name__)

View = dict[str, Any]

PERIODS: Mapping[str, int] = {"7d": 7, "30d": 30, "90d": 90}
"""How many days a period has, today among them."""

CHARTS = ("held", "worked", "cards", "line")

NAMED = 7
"""How many users a chart names; all others are one more."""

CARD_SPAN_S: Mapping[str, int] = {"7d": 6 * 3600, "30d": 86_400, "90d": 86_400}


def asked() -> str:
    """Read which period a request wants.

    Raises:
        BadInput: there is no such one.
    """
    period = request.args.get("period", "30d")
    if period not in PERIODS:
        raise BadInput(f"period: one of {', '.join(PERIODS)}", reason="field", field="period")
    return period


def all_days(manager: Manager, period: str) -> list[str]:
    """List the days of a period, the oldest first."""
    today = manager.lifecycle.book.today()
    return [days.earlier(today, back) for back in reversed(range(PERIODS[period]))]


def held_view(manager: Manager, period: str) -> View:
    """Show by user and day for how many seconds cards were held; the last name is None: the rest.

    ``seconds`` has a list for each of ``names``, with one number for each of ``days``.
    """
    wanted = all_days(manager, period)
    found = manager.lifecycle.book.held_by_day(wanted[0], NAMED)
    at = {day: index for index, day in enumerate(wanted)}
    sums: dict[str | None, list[int]] = {}
    for one in found:
        if one.day in at:
            sums.setdefault(one.username, [0] * len(wanted))[at[one.day]] = int(one.held_seconds)
    names = sorted(sums, key=lambda name: (name is None, -sum(sums[name])))
    return {"days": wanted, "names": names, "seconds": [sums[name] for name in names]}


def worked_view(manager: Manager, period: str) -> View:
    """Show by day for how many seconds the cards that were held worked, idled, or nobody knows."""
    wanted = all_days(manager, period)
    found = {one.key: one for one in manager.lifecycle.book.totals("day", wanted[0])}
    rows = [total_view(found[day]) if day in found else None for day in wanted]

    def series(name: str) -> list[int]:
        return [0 if row is None else row[name] for row in rows]

    held, worked, idle = (series(f"{name}_seconds") for name in ("held", "worked", "idle"))
    rest = [max(0, h - w - i) for h, w, i in zip(held, worked, idle, strict=True)]
    share = [None if row is None or row["share"] is None else 100 - row["share"] for row in rows]
    return {
        "days": wanted,
        "worked_seconds": worked,
        "idle_seconds": idle,
        "rest_seconds": rest,
        "idle_share": share,
    }


def cards_view(manager: Manager, period: str, now: float) -> View:
    """Show how busy each card was, in whole percent, by equal spans; None where nobody knows.

    ``use`` has a list for each of ``cards``, with one number for each of ``at``. Of time longer ago
    than the cards' history is kept nothing is known.
    """
    span_s, zone_s = CARD_SPAN_S[period], dt.datetime.now().astimezone().utcoffset()
    shift = int(zone_s.total_seconds()) if zone_s else 0
    last = (int(now) + shift) // span_s * span_s - shift
    grid = [last - back * span_s for back in reversed(range(PERIODS[period] * 86_400 // span_s))]
    found = manager.card_history.use(span_s, shift, grid[0])
    cards = [card for card in manager.cards if any((card.device, at) in found for at in grid)]
    return {
        "at": grid,
        "span_seconds": span_s,
        "cards": [card.card for card in cards],
        "use": [[_whole(found.get((card.device, at))) for at in grid] for card in cards],
    }


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def line_view(manager: Manager, period: str, now: float) -> View:
    """Show how many waited, on average and at most, and the longest wait in seconds."""
    kind = line_history.PERIODS[period]
    spans = {one.at: one for one in manager.line_history.spans(kind, now)}
    last = int(now) // kind.span_s * kind.span_s
    grid = [
        last - back * kind.span_s for back in reversed(range(kind.days * 86_400 // kind.span_s))
    ]
    known = [spans.get(at) for at in grid]
    return {
        "at": grid,
        "span_seconds": kind.span_s,
        "length_mean": [None if one is None else round(one.length_mean, 2) for one in known],
        "length_high": [None if one is None else one.length_high for one in known],
        "wait_high": [None if one is None else int(one.wait_high) for one in known],
    }


@admin_charts.get("/charts")
def page() -> ResponseReturnValue:
    """Show the charts of a period (``period``)."""
    manager, period, now = services().manager, asked(), time.time()
    charts = {
        "held": held_view(manager, period),
        "worked": worked_view(manager, period),
        "cards": cards_view(manager, period, now),
        "line": line_view(manager, period, now),
    }
    return render_template(
        "charts.html", charts=charts, period=period, periods=PERIODS, names=CHARTS
    )


@admin_charts.get("/charts.csv")
def table() -> ResponseReturnValue:
    """Give what is behind a chart (``of``) as CSV in UTF-8; by user and day, everybody is named."""
    manager, period, of = services().manager, asked(), request.args.get("of", "")
    if of not in _ROWS:
        raise BadInput(f"of: one of {', '.join(_ROWS)}", reason="field", field="of")
    text = runtime.offload(csv_text, _ROWS[of](manager, period, time.time())[:MOST_IN_CSV])
    name = f"{of}-{manager.lifecycle.book.today()}-{period}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, mimetype="text/csv", headers=headers)


def _held_rows(manager: Manager, period: str, _now: float) -> list[View]:
    begin = all_days(manager, period)[0]
    found: Sequence[Held] = manager.lifecycle.book.held_by_day(begin, MOST_IN_CSV)
    return [
        {
            "day": one.day,
            "user": one.username or "",
            "held_hours": round(one.held_seconds / 3600, 2),
        }
        for one in found
    ]


def _worked_rows(manager: Manager, period: str, _now: float) -> list[View]:
    return _across(worked_view(manager, period), "days", "day")


def _cards_rows(manager: Manager, period: str, now: float) -> list[View]:
    view = cards_view(manager, period, now)
    return [
        {"at": _moment(at), "card": card, "use_percent": use[index]}
        for index, at in enumerate(view["at"])
        for card, use in zip(view["cards"], view["use"], strict=True)
        if use[index] is not None
    ]


def _line_rows(manager: Manager, period: str, now: float) -> list[View]:
    rows = _across(line_view(manager, period, now), "at", "at")
    return [row | {"at": _moment(row["at"])} for row in rows if row["length_high"] is not None]


def _across(view: View, key: str, name: str) -> list[View]:
    """Turn lists side by side into rows."""
    lists = {one: values for one, values in view.items() if isinstance(values, list) and one != key}
    return [
        {name: at, **{one: values[index] for one, values in lists.items()}}
        for index, at in enumerate(view[key])
    ]


def _moment(at: float) -> str:
    """Write a time with its zone, so that it says the same everywhere."""
    return dt.datetime.fromtimestamp(at, dt.timezone.utc).astimezone().isoformat(timespec="seconds")


_ROWS: Mapping[str, Callable[[Manager, str, float], list[View]]] = {
    "held": _held_rows,
    "worked": _worked_rows,
    "cards": _cards_rows,
    "line": _line_rows,
}
