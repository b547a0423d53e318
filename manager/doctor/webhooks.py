"""Who is told by webhook, and whether that works; nothing is sent from here."""

from __future__ import annotations

import time
from collections.abc import Iterator

from manager.doctor.finding import OK, PROBLEM, WARNING, Finding
from manager.errors import SettingsError
from manager.settings import Settings
from manager.webhooks import hooks, record


def webhooks(settings: Settings) -> Iterator[Finding]:
    """Look whether the file can be used, and how the last message to each hook went."""
    told: dict[str, object] = {"path": str(settings.webhooks_file)}
    try:
        found = hooks.read(settings)
    except SettingsError as error:
        yield Finding("webhooks", PROBLEM, "unusable", {**told, "reason": error.message})
        return
    if not found:
        meant = "WEBHOOKS_FILE" in settings.origins and not settings.webhooks_file.exists()
        yield Finding("webhooks", WARNING if meant else OK, "missing" if meant else "none", told)
        return
    names = {hook.name for hook in found}
    failing = [one for one in record.load(record.place(settings))[1] if one.name in names]
    for one in failing:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.since))
        params = {"name": one.name, "kind": one.kind, "since": since, "problem": one.problem}
        yield Finding("webhooks", WARNING, "failing", {**params})
    if not failing:
        yield Finding("webhooks", OK, "ok", {**told, "count": len(found)})
