"""What counts beside «free or not»: maintenance, reservations, how the cards are. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from manager.permits import Reservation
from manager.records import Waiting

BAND_CELSIUS = 10.0
"""Cards that differ by less from the coolest are equally cool: a sensor's noise decides nothing."""


@dataclass(frozen=True)
class Terms:
    """The reservations in force by port, the ports whose card gives a warning, and temperatures.

    ``temperature`` in degrees Celsius, by port, where it is known. Under ``maintenance`` no port is
    given out at all.
    """

    reserved: Mapping[int, Reservation] = field(default_factory=dict)
    ailing: Collection[int] = ()
    temperature: Mapping[int, float] = field(default_factory=dict)
    maintenance: bool = False

    def allows(self, port: int, user_id: int) -> bool:
        """Tell whether no reservation keeps somebody from a port."""
        found = self.reserved.get(port)
        return found is None or user_id in found.user_ids

    def is_for(self, port: int, user_id: int) -> bool:
        """Tell whether a port is reserved for somebody."""
        return port in self.reserved and self.allows(port, user_id)

    def may_use(self, one: Waiting, port: int | None) -> bool:
        """Tell whether a port would do for somebody who waits."""
        return port is not None and one.may_use(port) and self.allows(port, one.user_id)

    def opens_in(self, port: int, user_id: int, now: float) -> float:
        """Say in how many seconds a reservation no longer keeps somebody away; infinite: not known.

        ``now`` is UTC epoch seconds.
        """
        found = self.reserved.get(port)
        if found is None or user_id in found.user_ids:
            return 0.0
        until = found.until
        return math.inf if until is None else max(0.0, until - now)

    def strain(self, ports: Sequence[int]) -> dict[int, tuple[bool, int]]:
        """Say of ports how strained their cards are: with a warning, and by bands of temperature.

        The bands begin at the coolest. A card of which it is not known is taken for the middle one
        of the others: neither hot nor cold.
        """
        known = [self.temperature[port] for port in ports if port in self.temperature]
        coolest, middle = (min(known), statistics.median(known)) if known else (0.0, 0.0)
        return {
            port: (
                port in self.ailing,
                int((self.temperature.get(port, middle) - coolest) // BAND_CELSIUS),
            )
            for port in ports
        }


OPEN = Terms()
"""Nothing is reserved, and nothing is known of any card."""
