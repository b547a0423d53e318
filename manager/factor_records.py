"""The records of second factors that leave the store, or are shown once."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SecondFactor:
    """A row of ``second_factors``. ``since`` is in UTC epoch seconds.

    ``key_mark`` names the manager's key that the secret is worked out with, ``last_step`` is the
    time step whose code was taken last.
    """

    user_id: int
    seed: str = field(repr=False)
    key_mark: str
    since: float
    last_step: int


@dataclass(frozen=True)
class Setup:
    """What a phone is to be told: the secret in Base32, and the same as an ``otpauth:`` address."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)
