"""Who is told of changes to ports and users. Handed down by ``bootstrap``: no room calls upward."""

from __future__ import annotations

from manager.lifecycle.moves import Publish


class Changes:
    """Hands changes on to whoever wants them."""

    def __init__(self) -> None:
        """Begin with nobody listening."""
        self.callbacks: list[Publish] = []

    def __call__(self, ports: frozenset[int], users: frozenset[int]) -> None:
        """Tell everybody."""
        for callback in self.callbacks:
            callback(ports, users)
