"""Puts what is told into words: one line of what happened, one of what to do, and where. Pure."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from manager.alerts import Told
from manager.settings import Settings
from manager.webhooks.hooks import Hook
from manager.webhooks.shapes import Message

Translate = Callable[..., str]
"""Gives the sentence of a language (first) and a key (second), with named places filled."""

MOST_OF_A_NAME = 200
"""Letters of anything that others have written, such as a reason."""

TEST = "test"


@dataclass(frozen=True)
class House:
    """Which machine speaks, and where its admins' page is."""

    host: str
    link: str


def house(settings: Settings) -> House:
    """Say which machine this is; its own name where ``EXTERNAL_IP`` is empty."""
    name = socket.gethostname()
    host = settings.external_ip or name
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if settings.https else "http"
    return House(name, f"{scheme}://{shown}:{settings.manager_port}/admin")


def message(translate: Translate, where: House, hook: Hook, told: Told) -> Message:
    """Say in a hook's language what is told."""
    numbers = {name: str(value)[:MOST_OF_A_NAME] for name, value in told.numbers.items()}
    given = {**numbers, "subject": told.subject, "host": where.host}
    key = f"alert.{told.event}"
    case = "over" if told.over else "begun"
    what = translate(hook.language, f"{key}.over" if told.over else key, **given)
    return Message(
        event=told.event,
        over=told.over,
        at=told.at,
        since=told.since,
        subject=told.subject,
        numbers=told.numbers,
        host=where.host,
        what=translate(hook.language, f"alert.line.{case}", host=where.host, what=what),
        do="" if told.over else translate(hook.language, f"{key}.do", **given),
        link=where.link,
        place=translate(hook.language, "alert.place"),
    )


def test_message(translate: Translate, where: House, hook: Hook, at: float) -> Message:
    """Make a message that only says that messages arrive."""
    return message(translate, where, hook, Told(TEST, "", False, at, at))
