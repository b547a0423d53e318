"""Which port a start gets, and who in the waiting line is next. Pure: values in, values out.

An assigned port and no other; for «any», a free port whose card is well and cool, and of those the
one that has rested longest, so that cards wear evenly. While people wait, a free port is for the
first of them who may use it: nobody who comes later, and nobody whose session has just ended, gets
it before him. The line is given in the order in which it is served, see ``priorities``. A reserved
port is for those it is reserved for and for nobody else. Under maintenance no port is for anybody:
every start asks here, so none happens, and who waits keeps his place.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from manager.errors import NoFreeCard
from manager.records import Instance, Waiting
from manager.states import STARTABLE, State
from manager.terms import OPEN, Terms

LEAST_SESSIONS = 5
"""With fewer sessions to look back on there is no estimate."""

EARLY, LATE = 0.25, 0.75
"""The part of the earlier sessions that was over by the ends of the estimate."""

NONE: Mapping[int, str] = MappingProxyType({})


def choose(
    instances: Sequence[Instance],
    assigned_port: int | None,
    unavailable: Mapping[int, str] = NONE,
    kept: Collection[int] = (),
    terms: Terms = OPEN,
    user_id: int = 0,
) -> Instance:
    """Choose the row a user's new instance takes.

    Args:
        instances: the rows of the port table, each port once.
        assigned_port: the user's own port, or None for any.
        unavailable: ports that must not be given out now, and why.
        kept: free ports that are for others, who wait in the line.
        terms: what is reserved, and how the cards are.
        user_id: whose instance it is.

    Raises:
        NoFreeCard: none is free; ``reason`` tells an assigned port that is held (``assigned``),
            one that cannot be served (``unavailable``), one that the table no longer has
            (``removed``), one that is reserved (``reserved``), or all are (``all_reserved``), a
            full house (``all``), what is kept for the line (``line``), and ``maintenance``.
    """
    if terms.maintenance:
        raise NoFreeCard("nothing is started during maintenance", reason="maintenance")
    if assigned_port is not None:
        if not terms.allows(assigned_port, user_id):
            raise NoFreeCard(
                f"your port {assigned_port} is reserved", reason="reserved", port=assigned_port
            )
        return _assigned(instances, assigned_port, unavailable, kept)
    return _any(instances, unavailable, kept, terms, user_id)


def _any(
    instances: Sequence[Instance],
    unavailable: Mapping[int, str],
    kept: Collection[int],
    terms: Terms,
    user_id: int,
) -> Instance:
    allowed = [row for row in instances if terms.allows(row.port, user_id)]
    if instances and not allowed:
        raise NoFreeCard("every card is reserved", reason="all_reserved")
    free = [row for row in allowed if _free(row, unavailable)]
    mine = [row for row in free if row.port not in kept]
    if not free:
        raise NoFreeCard("every card is in use at the moment", reason="all")
    if not mine:
        raise NoFreeCard("what is free is kept for those who wait", reason="line")
    rank = _ranks(mine, terms, user_id)
    return min(mine, key=lambda row: rank[row.port])


def _assigned(
    instances: Sequence[Instance],
    assigned_port: int,
    unavailable: Mapping[int, str],
    kept: Collection[int],
) -> Instance:
    for row in instances:
        if row.port == assigned_port:
            if _free(row, unavailable):
                if row.port in kept:
                    raise NoFreeCard("your port is kept for one who waits", reason="line")
                return row
            if row.state in STARTABLE:
                raise NoFreeCard(
                    f"your port {assigned_port} cannot be served: {unavailable[assigned_port]}",
                    reason="unavailable",
                    port=assigned_port,
                    why=unavailable[assigned_port],
                )
            raise NoFreeCard(
                f"your port {assigned_port} is in use at the moment",
                reason="assigned",
                port=assigned_port,
            )
    raise NoFreeCard(
        f"your port {assigned_port} no longer exists; ask the admin for another",
        reason="removed",
        port=assigned_port,
    )


def _free(row: Instance, unavailable: Mapping[int, str]) -> bool:
    return row.state in STARTABLE and row.port not in unavailable


def _ranks(
    rows: Sequence[Instance], terms: Terms, user_id: int
) -> dict[int, tuple[bool, tuple[bool, int], float, int]]:
    """Say how good each free port is for somebody, by port; the least is the best."""
    strain = terms.strain([row.port for row in rows])
    return {
        row.port: (
            # What is kept for him leaves the others to the others.
            not terms.is_for(row.port, user_id),
            strain[row.port],
            row.ready_at or row.started_at or 0.0,
            row.port,
        )
        for row in rows
    }


def allot(
    instances: Sequence[Instance],
    line: Sequence[Waiting],
    unavailable: Mapping[int, str] = NONE,
    terms: Terms = OPEN,
) -> dict[int, int]:
    """Say for whom each free port is that somebody waits for: the user's id by port.

    What is offered already stays where it is, as long as it is free. Then the line goes in its
    order; «any» leaves alone, if it can, what is the only port of somebody behind. Under
    maintenance that is nobody, also of those who had an offer.
    """
    if terms.maintenance:
        return {}
    free = {row.port: row for row in instances if _free(row, unavailable)}
    given: dict[int, int] = {}
    for one in line:
        port = one.offered_port
        if port in free and terms.may_use(one, port) and port not in given:
            given[port] = one.user_id
    served = set(given.values())
    for one in line:
        if one.user_id in served:
            continue
        left = [row for port, row in free.items() if port not in given]
        mine = [row for row in left if terms.may_use(one, row.port)]
        if mine:
            others = [w for w in line if w.user_id not in served and w != one]
            wanted = {w.assigned_port for w in others if terms.may_use(w, w.assigned_port)}
            rank = _ranks(mine, terms, one.user_id)
            best = min(rank, key=lambda port: (port in wanted, rank[port]))
            given[best] = one.user_id
            served.add(one.user_id)
    return given


@dataclass(frozen=True)
class Turns:
    """What is to change in the line, by users: who was late, who loses an offer, who gets which."""

    missed: tuple[int, ...]
    withdrawn: tuple[int, ...]
    offered: Mapping[int, int]

    def __bool__(self) -> bool:
        return bool(self.missed or self.withdrawn or self.offered)


def turns(
    instances: Sequence[Instance],
    line: Sequence[Waiting],
    unavailable: Mapping[int, str],
    overdue: Collection[int],
    terms: Terms = OPEN,
) -> Turns:
    """Say whose turn it is now.

    Args:
        instances: the rows of the port table.
        line: who waits, in the order in which they are served.
        unavailable: ports that must not be given out now, and why.
        overdue: the users whose time to take their offer is over. Who could not have taken it,
            because the port is not to be had any more, has missed nothing and keeps his place.
        terms: what is reserved, and how the cards are.
    """
    kept = allot(instances, line, unavailable, terms)
    missed = tuple(
        user for user, port in _offers(line).items() if user in overdue and kept.get(port) == user
    )
    staying = [one for one in line if one.user_id not in missed]
    given = {user: port for port, user in allot(instances, staying, unavailable, terms).items()}
    had = _offers(staying)
    return Turns(
        missed=missed,
        withdrawn=tuple(user for user, port in had.items() if given.get(user) != port),
        offered={user: port for user, port in given.items() if had.get(user) != port},
    )


def _offers(line: Sequence[Waiting]) -> dict[int, int]:
    return {one.user_id: one.offered_port for one in line if one.offered_port is not None}


def place(line: Sequence[Waiting], user_id: int) -> tuple[int, int]:
    """Give somebody's place and how many wait, of those who wait for a port he may use too."""
    me = next(one for one in line if one.user_id == user_id)
    rivals = [
        one.user_id
        for one in line
        if None in (one.assigned_port, me.assigned_port) or one.assigned_port == me.assigned_port
    ]
    return rivals.index(user_id) + 1, len(rivals)


def estimates(
    instances: Sequence[Instance],
    line: Sequence[Waiting],
    unavailable: Mapping[int, str],
    lengths: Sequence[float],
    now: float,
    terms: Terms = OPEN,
) -> dict[int, tuple[float, float]]:
    """Say in how many seconds each user's turn may come, early and late, where it can be said.

    Sessions under way are taken to last as long as those earlier ones that lasted at least as long;
    those of the people ahead as long as all. Nothing can be said with too few sessions, after one
    that has lasted longer than any before, or without a port. A port that is reserved for others
    until some time is his from then on. Under maintenance, whose end nobody knows, nothing is said.
    """
    if len(lengths) < LEAST_SESSIONS or terms.maintenance:
        return {}
    early, late = (
        _until_turns(instances, line, unavailable, lengths, now, terms, part)
        for part in (EARLY, LATE)
    )
    both = {user: sorted((early[user], late[user])) for user in early.keys() & late.keys()}
    return {user: (low, high) for user, (low, high) in both.items() if math.isfinite(high)}


def _until_turns(
    instances: Sequence[Instance],
    line: Sequence[Waiting],
    unavailable: Mapping[int, str],
    lengths: Sequence[float],
    now: float,
    terms: Terms,
    part: float,
) -> dict[int, float]:
    free_in: dict[int, float] = {}
    for row in instances:
        if row.state in STARTABLE and row.port in unavailable:
            continue
        age = 0.0 if row.started_at is None else now - row.started_at
        lasts = row.state in (State.STARTING, State.RUNNING)
        free_in[row.port] = _rest(lengths, age, part) if lasts else 0.0
    found: dict[int, float] = {}
    whole = _rest(lengths, 0.0, part)
    for one in line:
        his = [
            (max(free, terms.opens_in(port, one.user_id, now)), port)
            for port, free in free_in.items()
            if one.may_use(port)
        ]
        if not his:
            continue
        found[one.user_id], port = min(his)
        if math.isfinite(found[one.user_id]):
            free_in[port] = found[one.user_id] + whole
    return found


def _rest(lengths: Sequence[float], age: float, part: float) -> float:
    rest = sorted(length - age for length in lengths if length > age)
    return rest[int(part * (len(rest) - 1))] if rest else math.inf
