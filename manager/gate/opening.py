"""What an open gate needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Opening:
    """An open gate: the visitor's ``token``, and the ``secret`` Caddy shows to the instance.

    ``secret`` None: the instance was started by a version that knew no guard, and asks for none.
    Neither is in the ``repr``. ``upstream`` is where the instance answers, as ``host:port``;
    ``owner`` the id of the user it is open for.
    """

    token: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    upstream: str = field(kw_only=True)
    owner: int = field(default=0, repr=False)
