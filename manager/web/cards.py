"""What the admins' page says of each card: how much it is used, by whom, and what is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manager.cards.reading import CardProcess
from manager.web.house import Card, Manager


def cards_view(manager: Manager) -> list[dict[str, Any]]:
    """Show the cards; numbers whole, memory in bytes, None for what is not known.

    ``measured`` is false for cards that nothing can be asked of: processors, and cards of other
    machines. ``unknown`` says why nothing is
    known now, ``outside`` lists processes that belong to no instance. ``given`` is false for a card
    that is not given out: because of those, because it is ``sick``, or because memory is in use
    that is ``nobodys``; these are as last seen when the tool does not answer.
    """
    return [_card_view(manager, card) for card in manager.cards]


def _card_view(manager: Manager, card: Card) -> dict[str, Any]:
    state = manager.sampler.state(card.device)
    seen = state.reading if state is not None else None
    return {
        "card": card.card,
        "node": card.node,
        "measured": card.kind != "cpu" and card.node is None,
        "looked": state is not None,
        "name": seen.name if seen else "",
        "health": seen.health if seen else "",
        "utilisation": _whole(seen.utilisation) if seen else None,
        "memory_used": seen.memory_used if seen else None,
        "memory_total": seen.memory_total if seen else None,
        "temperature": _whole(seen.temperature) if seen else None,
        "power": _whole(seen.power) if seen else None,
        "unknown": seen.unknown if seen else "",
        "outside": ", ".join(map(_process, state.foreign)) if state is not None else "",
        "given": state is None or not state.busy,
        "sick": state.known.health if state and state.known and state.sick else "",
        "nobodys": state is not None and state.nobodys_memory,
        "idle": state.baseline if state is not None else None,
    }


def _process(one: CardProcess) -> str:
    name = Path(one.name).name or "?"
    number = "" if one.pid is None else f"{one.pid} "
    return f"{number}{name} ({one.owner})" if one.owner else f"{number}{name}"


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
