"""How one number of ``/metrics`` is made."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily

Values = Iterable[tuple[list[str], float | None]]


def gauge(name: str, about: str, labels: list[str], values: Values) -> GaugeMetricFamily:
    """Make a gauge; what is not known is left out, never zero."""
    made = GaugeMetricFamily(name, about, labels=labels)
    for words, value in values:
        if value is not None:
            made.add_metric(words, float(value))
    return made
