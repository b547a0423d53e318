"""The provider of the login beside passwords: whether it answers, as what, and by the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime

from manager.doctor.finding import OK, PROBLEM, WARNING, Finding
from manager.errors import SettingsError
from manager.settings import Settings


def sign_in(settings: Settings, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Ask the provider for its document once; nobody is sent to it."""
    if not settings.oidc_issuer:
        yield Finding("sign_in", OK, "none")
        return
    # Here, for what it imports is of no use to anybody else.
    from manager import oidc, oidc_line

    told: dict[str, object] = {"issuer": settings.oidc_issuer}
    try:
        oidc.Provider(settings)
    except SettingsError as error:
        yield Finding("sign_in", PROBLEM, "secret", {"reason": error.message})
        return
    try:
        found, date = oidc_line.document(settings.oidc_issuer)
        oidc_line.check(found, settings.oidc_issuer)
    except oidc_line.NO_ANSWER as error:
        yield Finding("sign_in", PROBLEM, "silent", {**told, "reason": oidc_line.said(error)})
        return
    except oidc_line.BAD_ANSWER as error:
        yield Finding("sign_in", PROBLEM, "wrong", {**told, "reason": oidc_line.said(error)})
        return
    off = _seconds_off(date, clock())
    if abs(off) > oidc_line.LEEWAY_S:
        yield Finding("sign_in", WARNING, "clock", {**told, "seconds": round(abs(off))})
        return
    yield Finding("sign_in", OK, "ok", told)


def _seconds_off(date: str, now: float) -> float:
    """Say how far the provider's clock is ahead; 0 where it does not say."""
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (TypeError, ValueError):
        return 0.0
