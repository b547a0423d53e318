"""How each port and its card stand, in one word, with what to know about it and who is next.

Worked out once here, from the parts of the overview, so that the wall's page and its script say
the same. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from manager.records import Waiting
from manager.states import HOLDS_PORT
from manager.terms import Terms

View = dict[str, Any]

STANDINGS = (
    *("starting", "running", "stopping", "draining"),
    *("free", "kept", "reserved", "out_of_use", "held_back", "elsewhere"),
    *("outside", "sick", "unknown"),
)
"""Held by somebody, and ``draining`` if nobody is to have it after him; then those held by nobody.

``kept``: for whom in the line its turn it is. ``outside``: not given out because of processes that
belong to no instance. ``unknown``: given out, but its tool does not say how it is.
``elsewhere``: its machine is not known to be there.
"""

NOTES = (
    *("hung", "still", "beside", "after", "kept", "reserved", "out_of_use"),
    *("held_back", "outside", "sick", "unknown", "elsewhere", "failed"),
)
"""What is said beside a standing; each is a sentence with ``text`` and perhaps a time in it."""


def standing_view(
    port: View, card: View, reservation: View | None, line: Sequence[Waiting], terms: Terms
) -> View:
    """Give a port's ``standing``, its ``note`` (None: nothing to say) and who is ``next_up``.

    Args:
        port: the port's part of the overview, with ``held_back``.
        card: its card's part.
        reservation: what it is reserved for, if it is.
        line: who waits, the first first.
        terms: what else is reserved.
    """
    offered = next((one for one in line if one.offered_port == port["port"]), None)
    if port["state"] in HOLDS_PORT:
        drains = reservation is not None and not reservation["user_ids"]
        standing = "draining" if drains and port["state"] != "stopping" else port["state"]
        note = _note_of_held(port, card, reservation)
    else:
        standing, note = _of_unheld(port, card, reservation, offered)
    return {"standing": standing, "note": note, "next_up": _next_up(port, offered, line, terms)}


def _note_of_held(port: View, card: View, reservation: View | None) -> View | None:
    work = port["progress"]
    if port["hung_since"] is not None:
        return _note("hung", at=port["hung_since"])
    if work and work["still_minutes"] is not None:
        return _note("still", work["still_minutes"])
    if card["outside"]:
        return _note("beside", card["outside"])
    if reservation is not None and reservation["user_ids"]:
        names = [one for one in reservation["usernames"] if one != port["username"]]
        return _note("after", ", ".join(names)) if names else None
    return None


def _of_unheld(
    port: View, card: View, reservation: View | None, offered: Waiting | None
) -> tuple[str, View | None]:
    if port["held_back"]:
        return "held_back", _note("held_back")
    if port["unreachable"]:
        return "elsewhere", _note("elsewhere", port["unreachable"])
    if card["sick"]:
        return "sick", _note("sick", card["sick"])
    if not card["given"]:
        return "outside", _note("outside", card["outside"])
    if reservation is not None:
        told = {"text": ", ".join(reservation["usernames"]), "at": reservation["until"]}
        kind = "reserved" if reservation["user_ids"] else "out_of_use"
        return kind, _note(kind, **told) if told["text"] or told["at"] else None
    if offered is not None:
        return "kept", _note("kept", offered.username)
    if card["measured"] and card["unknown"]:
        return "unknown", _note("unknown", card["unknown"])
    return "free", _note("failed") if port["state"] == "failed" else None


def _note(kind: str, text: object = "", at: float | None = None) -> View:
    return {"kind": kind, "text": str(text), "at": at}


def _next_up(
    port: View, offered: Waiting | None, line: Sequence[Waiting], terms: Terms
) -> str | None:
    """Name who gets the port as the next: the first who may use it and has nothing kept for him."""
    if offered is not None:
        return offered.username
    number = port["port"]
    waiting = (one for one in line if one.offered_port is None and terms.may_use(one, number))
    return next((one.username for one in waiting), None)


def with_standings(overview: View, line: Sequence[Waiting], terms: Terms) -> View:
    """Give an overview whose ports have their standing."""
    cards: Mapping[int, View] = {card["card"]: card for card in overview["cards"]}
    reserved = {one["port"]: one for one in overview["reservations"]}
    ports = [
        port | standing_view(port, cards[port["card"]], reserved.get(port["port"]), line, terms)
        for port in overview["ports"]
    ]
    return {**overview, "ports": ports}


def columns(tiles: int) -> int:
    """Say in how many columns so many tiles stand on a wide screen: few gaps, none too flat."""
    least = max(1, math.ceil(math.sqrt(tiles)))
    return min((least, least + 1), key=lambda count: (-tiles % count, count))
