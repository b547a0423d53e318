"""The port table: which ComfyUI port goes with which outer ports, and with which card where.

Pure; read by ``settings``. The card is the number people say («card 1»), each once in the whole
table; the device is the id the driver's tool and the ``*_VISIBLE_DEVICES`` variables use, one less
unless told otherwise. The node is the machine that has the card, by the name that the engine of
the cluster gives it: none for this machine, ``any`` for whichever has a card free. Of a card on a
node its engine alone chooses the device.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields

from manager.errors import SettingsError

PORT_LIMIT = 65535
ALLOWED = (
    "port, external_port, workspace_port, card and, if wanted, device, the two public ones and node"
)

ANY_NODE = "any"
"""Names no machine: the engine takes one that has a card free."""

LOCAL = "local"
"""The launcher of this machine; every other one is an engine of a cluster."""

_NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True)
class PortRow:
    """One row. ``public_*`` differ from the listening ports only behind address translation.

    ``node`` is None for this machine, else see the module's docstring.
    """

    port: int
    external_port: int
    workspace_port: int
    card: int
    device: int
    public_external_port: int
    public_workspace_port: int
    node: str | None = None

    @property
    def wanted_node(self) -> str | None:
        """Name the machine that this row's instance must run on; None: the engine may choose."""
        return None if self.node == ANY_NODE else self.node


def make_row(
    port: int,
    external_port: int,
    workspace_port: int,
    card: int,
    device: int | None = None,
    public_external_port: int | None = None,
    public_workspace_port: int | None = None,
    node: str | None = None,
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
        node,
    )


DEFAULT_PORTS = tuple(make_row(8000 + n, 9000 + n, 9080 + n, n) for n in (1, 2, 3, 4))

_NAMES = [f.name for f in fields(PortRow)]
_REQUIRED = _NAMES[:4]


def read_ports(raw: object) -> tuple[PortRow, ...]:
    """Read the table from TOML's ``[[PORTS]]`` or the environment's ``8001:9001:9081:1,...``.

    There, what is left empty between two colons is left out; the node comes last.

    Raises:
        ValueError: says what is wrong with which row.
    """
    if isinstance(raw, str):
        raw = [_fields_of(row) for row in raw.split(",")]
    if not isinstance(raw, list) or not raw:
        raise ValueError("at least one row is needed")
    return tuple(_read_row(row) for row in raw)


def write_ports(rows: tuple[PortRow, ...]) -> str:
    """Write the table as the environment takes it."""
    return ",".join(_written(row, _NAMES) for row in rows)


def short(row: PortRow) -> str:
    """Write what is most worth knowing of a row, as the environment takes it."""
    return _written(row, _REQUIRED) + (f"::::{row.node}" if row.node else "")


def _written(row: PortRow, names: list[str]) -> str:
    values = [getattr(row, name) for name in names]
    return ":".join(str(value) for value in values if value is not None)


def _fields_of(row: str) -> dict[str, str]:
    # The name of a node may have colons of its own.
    words = row.split(":", len(_NAMES) - 1)
    named = dict(zip(_NAMES, words, strict=False))
    return {name: word for name, word in named.items() if word or name in _REQUIRED}


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
    numbers = {name: _number(name, value) for name, value in raw.items() if name != "node"}
    return make_row(**numbers, node=_node(raw["node"]) if "node" in raw else None)


def _node(value: object) -> str:
    if not isinstance(value, str) or not _NODE.fullmatch(value):
        raise ValueError(f"node = {value!r} is neither the name of a machine nor {ANY_NODE}")
    return value


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

    Cards are counted through over all machines: people, statistics and the wall say «card 12».

    Raises:
        SettingsError: names the port or card that stands twice.
    """
    listening = [manager_port]
    for row in rows:
        listening += [row.port, row.external_port, row.workspace_port]
    _refuse_twice("port", listening)
    _refuse_twice("card", [row.card for row in rows])
    _refuse_twice("device", [row.device for row in rows if row.node is None])
    public = [p for row in rows for p in (row.public_external_port, row.public_workspace_port)]
    _refuse_twice("public port", public)


def check_nodes(rows: tuple[PortRow, ...], launcher: str) -> None:
    """Refuse machines where the launcher knows only this one, and rows without where it does not.

    Raises:
        SettingsError: names the first row that does not go with the launcher.
    """
    for row in rows:
        if launcher == LOCAL and row.node is not None:
            raise SettingsError(
                f"PORTS: row {row.port} names the node {row.node}, but LAUNCHER = local starts "
                "everything on this machine; take the node out, or set LAUNCHER to ray or slurm"
            )
        if launcher != LOCAL and row.node is None:
            raise SettingsError(
                f"PORTS: row {row.port} names no node, but LAUNCHER = {launcher} starts it on a "
                f"machine of its cluster; give its name there, or node = {ANY_NODE} for whichever "
                "has a card free"
            )


def _refuse_twice(what: str, numbers: list[int]) -> None:
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    if twice:
        raise SettingsError(
            f"PORTS: {what} {twice[0]} is used twice (MANAGER_PORT counts too); "
            f"allowed: each {what} once"
        )
