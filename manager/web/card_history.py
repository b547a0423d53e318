"""The cards' history as the admins' charts, their table and a CSV show it."""

from __future__ import annotations

import csv
import datetime as dt
import io
import time
from typing import Any, Literal

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from manager import runtime
from manager.card_history import PERIODS, Period
from manager.errors import BadInput
from manager.spans import METRICS, Span
from manager.web import bodies
from manager.web.answers.admin import CardHistory
from manager.web.contract import Files, contract
from manager.web.house import Card, Manager
from manager.web.services import services

admin_cards = Blueprint("admin_cards", __name__, url_prefix="/api/admin/cards")

PARTS = ("low", "mean", "high")


class HistoryQuery(bodies.Query):
    """Which card of the table, and which period."""

    card: bodies.QueryNumber = 1
    period: Literal["24h", "7d", "30d"] = "24h"


def _card(manager: Manager, number: int) -> Card:
    found = [card for card in manager.cards if card.card == number]
    if not found:
        raise BadInput("card: a number of the table", reason="field", field="card")
    return found[0]


def view(manager: Manager, card: Card, name: str, now: float) -> dict[str, Any]:
    """Show a card's history on a grid of equal spans; None where nothing was known.

    ``at`` is when each span begins, in UTC epoch seconds; memory is in bytes.
    """
    period = PERIODS[name]
    spans = {one.at: one for one in manager.card_history.spans(card.device, period, now)}
    grid = [spans.get(at) for at in _grid(period, now)]
    known = [one for one in grid if one is not None and one.memory_total is not None]
    return {
        "card": card.card,
        "period": name,
        "span_seconds": period.span_s,
        "at": _grid(period, now),
        "memory_total": known[-1].memory_total if known else None,
        "health": [one.health if one is not None else None for one in grid],
        **{metric: _series(grid, metric) for metric in METRICS},
    }


def _grid(period: Period, now: float) -> list[int]:
    last = int(now) // period.span_s * period.span_s
    return list(range(last - period.seconds + period.span_s, last + 1, period.span_s))


def _series(grid: list[Span | None], metric: str) -> dict[str, list[float | None]]:
    extents = [one.extents.get(metric) if one is not None else None for one in grid]
    return {
        part: [None if one is None else round(getattr(one, part), 1) for one in extents]
        for part in PARTS
    }


@admin_cards.get("/history")
@contract(CardHistory)
def history(query: HistoryQuery) -> ResponseReturnValue:
    """Give a card's history (``card``) over a period (``period``)."""
    manager = services().manager
    return view(manager, _card(manager, query.card), query.period, time.time())


@admin_cards.get("/history.csv")
@contract(Files(("text/csv",)))
def history_csv(query: HistoryQuery) -> ResponseReturnValue:
    """Give the same as CSV in UTF-8, without the spans in which nothing was known."""
    manager = services().manager
    card, name = _card(manager, query.card), query.period
    spans = manager.card_history.spans(card.device, PERIODS[name], time.time())
    headers = {"Content-Disposition": f'attachment; filename="card-{card.card}-{name}.csv"'}
    return Response(runtime.offload(_table, spans), mimetype="text/csv", headers=headers)


def _table(spans: list[Span]) -> str:
    output = io.StringIO()
    # The mark by which spreadsheets know UTF-8.
    output.write("\ufeff")
    writer = csv.writer(output)
    values = [f"{metric}_{part}" for metric in METRICS for part in PARTS]
    writer.writerow(["at", "seconds", "health", "memory_total", *values])
    for one in spans:
        at = dt.datetime.fromtimestamp(one.at, dt.timezone.utc).astimezone()
        extents = (one.extents.get(metric) for metric in METRICS)
        cells = [round(getattr(e, part), 1) if e else "" for e in extents for part in PARTS]
        first = [at.isoformat(timespec="seconds"), one.seconds, one.health, one.memory_total or ""]
        writer.writerow([*first, *cells])
    return output.getvalue()
