"""The port table: which ComfyUI port goes with which external port, workspace port and card.

Pure; read by ``settings``. The card is the number people say («card 1»); the device is the id
the driver's tool and the ``*_VISIBLE_DEVICES`` variables use, one less unless told otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields

from manager.errors import SettingsError

PORT_LIMIT = 65535
ALLOWED = "port, external_port, workspace_port, card and, if wanted, device and the two public ones"


@dataclass(frozen=True)
class PortRow:
    """One row. ``public_*`` differ from the listening ports only behind address translation."""

    port: int
    external_port: int
    workspace_port: int
    card: int
    device: int
    public_external_port: int
    public_workspace_port: int


def make_row(
    port: int,
    external_port: int,
    workspace_port: int,
    card: int,
    device: int | None = None,
    public_external_port: int | None = None,
    public_workspace_port: int | None = None,
) -> PortRow:
    """Build a row, filling what was left out: device = card - 1, public ports = listening ports."""
    return PortRow(
        port,
        external_port,
        workspace_port,
        card,
        card - 1 if device is None else device,
        external_port if public_external_port is None else public_external_port,
        workspace_port if public_workspace_port is None else public_workspace_port,
    )


DEFAULT_PORTS = tuple(make_row(8000 + n, 9000 + n, 9080 + n, n) for n in (1, 2, 3, 4))

_NAMES = [f.name for f in fields(PortRow)]
_REQUIRED = _NAMES[:4]


def read_ports(raw: object) -> tuple[PortRow, ...]:
    """Read the table from TOML's ``[[PORTS]]`` or the environment's ``8001:9001:9081:1,...``.

    Raises:
        ValueError: says what is wrong with which row.
    """
    if isinstance(raw, str):
        raw = [dict(zip(_NAMES, row.split(":"), strict=False)) for row in raw.split(",")]
    if not isinstance(raw, list) or not raw:
        raise ValueError("at least one row is needed")
    return tuple(_read_row(row) for row in raw)


def write_ports(rows: tuple[PortRow, ...]) -> str:
    """Write the table as the environment takes it."""
    return ",".join(":".join(str(getattr(row, name)) for name in _NAMES) for row in rows)


def _read_row(raw: object) -> PortRow:
    if not isinstance(raw, Mapping):
        raise ValueError(f"{raw!r} is not a row of {ALLOWED}")
    unknown = [name for name in raw if name not in _NAMES]
    missing = [name for name in _REQUIRED if name not in raw]
    if unknown or missing:
        raise ValueError(
            f"row {dict(raw)!r}: "
            + "; ".join(
                [f"unknown {name}" for name in unknown] + [f"{name} is missing" for name in missing]
            )
        )
    return make_row(**{name: _number(name, value) for name, value in raw.items()})


def _number(name: str, value: object) -> int:
    low = 0 if name == "device" else 1
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{name} = {value!r} is not a number")
    try:
        number = int(value)
    except ValueError:
        raise ValueError(f"{name} = {value!r} is not a number") from None
    if not low <= number <= PORT_LIMIT:
        raise ValueError(f"{name} = {number} is not between {low} and {PORT_LIMIT}")
    return number


def check_ports(rows: tuple[PortRow, ...], manager_port: int) -> None:
    """Refuse a table in which two things would listen on one port or hold one card.

    Raises:
        SettingsError: names the port or card that stands twice.
    """
    listening = [manager_port]
    for row in rows:
        listening += [row.port, row.external_port, row.workspace_port]
    _refuse_twice("port", listening)
    _refuse_twice("card", [row.card for row in rows])
    _refuse_twice("device", [row.device for row in rows])
    public = [p for row in rows for p in (row.public_external_port, row.public_workspace_port)]
    _refuse_twice("public port", public)


def _refuse_twice(what: str, numbers: list[int]) -> None:
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    if twice:
        raise SettingsError(
            f"PORTS: {what} {twice[0]} is used twice (MANAGER_PORT counts too); "
            f"allowed: each {what} once"
        )
