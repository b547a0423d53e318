"""What Caddy serves, what the Caddyfile says, and how both change together.

Every change gets the whole wanted state, so nothing is ever added or taken away by halves:

1. render, and write the new Caddyfile beside the old one, safe on the disk;
2. load it into Caddy, which takes it whole or refuses it whole;
3. ask the gates from outside whether they do what was asked;
4. rename the new file into place.

The file comes last: whatever it says has been live and was checked, and everything that can fail
about writing has already succeeded in step 1. A failure before step 4 puts the old configuration
back. A manager killed between 2 and 4 leaves Caddy ahead of the file until the next start, which
renders the wanted state again. Not for several threads: ``gate.py`` holds the lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from manager import runtime
from manager.addresses import AUTHORITY
from manager.errors import GateFailed
from manager.gate import admin, caddyfile, probe
from manager.gate.caddy import CaddyProcess
from manager.gate.caddyfile import Draft
from manager.gate.opening import Opening
from manager.gate.render import Look, read_templates, render
from manager.gate.tls import Keeper, options
from manager.gate.use import UseLogs
from manager.ports import PortRow
from manager.settings import ROOT, Settings

log = logging.getLogger(__name__)

EDITS = 3
"""How often a change starts again because the operator saved the file meanwhile."""


class Live:
    """The configuration in force.

    ``openings`` is what Caddy is known to serve, None when that is not certain. ``left_out`` names
    the ComfyUI ports that are not served, because a stranger holds one of their gate ports.
    """

    def __init__(self, settings: Settings, caddy: CaddyProcess, use: UseLogs | None = None) -> None:
        """Read the texts; touches neither Caddy nor the file. ``use``: logs of who uses them."""
        self.reloaded: Callable[[bool], None] = lambda _taken: None
        self.openings: dict[int, Opening] | None = None
        self.left_out: dict[int, str] = {}
        self._rows = settings.ports
        self._host = settings.gate_host
        self._path = settings.caddyfile
        self._settings = settings
        self._look = Look(
            settings.gate_host,
            settings.manager_port,
            settings.https,
            use=use,
            manager_host=settings.manager_host,
            authority=settings.data_dir / AUTHORITY,
        )
        self.keeper = Keeper(settings, caddy.home)
        self._templates = read_templates()
        self._caddy = caddy
        self._text = ""

    def begin(self, wanted: Mapping[int, Opening]) -> None:
        """Write the file and start Caddy with it.

        Raises:
            GateFailed: Caddy does not start, or the file cannot be written.
        """
        self.openings = None
        self.left_out = {row.port: why for row in self._rows if (why := self._taken(row))}
        while True:
            text = self.write(wanted)
            try:
                self._caddy.begin()
                break
            except admin.LoadRefused as error:
                self._leave_out(error)
        self._check(self._rows, wanted)
        self.openings, self._text = dict(wanted), text

    def change(self, wanted: Mapping[int, Opening]) -> None:
        """Make a running Caddy serve ``wanted``.

        Raises:
            GateFailed: Caddy, a gate or the disk refused; what was in force is in force again.
        """
        before, text_before = self.openings, self._text
        rows = [r for r in self._rows if before is None or before.get(r.port) != wanted.get(r.port)]
        try:
            self._change(wanted, rows)
        except GateFailed:
            if self.openings is None and text_before:
                self._roll_back(before, text_before)
            raise

    def write(self, wanted: Mapping[int, Opening]) -> str:
        """Write the file alone, for a Caddy that is not running, and give its text.

        Raises:
            GateFailed: the file is not as it must be, or cannot be written.
        """
        found, text = self._compose(wanted)
        if text != found:
            draft: Draft = runtime.offload(Draft, self._path, text)
            runtime.offload(draft.put)
        return text

    def renewed(self) -> bool:
        """Look after the certificate, say in the log what is new about it, and tell if it is new.

        A new one of the operator's needs a change of the Caddyfile.
        """
        before = self.keeper.problem
        renewed = runtime.offload(self.keeper.renewed)
        if renewed:
            log.info("TLS: the certificate has been replaced; the new one is being put in force")
        elif self.keeper.problem != before:
            if self.keeper.problem:
                log.warning("TLS: %s", self.keeper.problem)
            else:
                log.info("TLS: the certificate is good")
        return renewed

    def freed(self) -> bool:
        """Look whether a port that was taken is free again, and forget that it was taken."""
        free = [
            row.port for row in self._rows if row.port in self.left_out and not self._taken(row)
        ]
        for port in free:
            log.info("端口 %d: its gate ports are free again", port)
            del self.left_out[port]
        return bool(free)

    def _change(self, wanted: Mapping[int, Opening], rows: Iterable[PortRow]) -> None:
        edits = 0
        while edits < EDITS:
            found, text = self._compose(wanted)
            draft: Draft = runtime.offload(Draft, self._path, text)
            try:
                self._load(text)
                self._check(rows, wanted)
                if self._read() == found:
                    runtime.offload(draft.put)
                    self.openings, self._text = dict(wanted), text
                    return
                edits += 1
            except admin.LoadRefused as error:
                self._leave_out(error)
            finally:
                runtime.offload(draft.drop)
        raise GateFailed(f"{self._path} keeps changing while it is being written")

    def _load(self, text: str) -> None:
        before, self.openings = self.openings, None
        try:
            self._caddy.load(text)
        except admin.LoadRefused:
            self.reloaded(False)
            self.openings = before  # Caddy goes on with what it had
            raise
        self.reloaded(True)

    def _roll_back(self, openings: dict[int, Opening] | None, text: str) -> None:
        try:
            self._caddy.load(text)
        except GateFailed as error:
            log.warning("Caddy: the configuration before cannot be put back: %s", error.message)
        else:
            self.openings, self._text = openings, text

    def _compose(self, wanted: Mapping[int, Opening]) -> tuple[str | None, str]:
        """Give the file as it stands, None where there is none, and as it should be."""
        found = self._read()
        outside = found
        if outside is None:
            outside = caddyfile.read(ROOT / "Caddyfile")
        if outside is None:
            raise GateFailed(f"there is no {self._path}; {caddyfile.RESTORE}")
        if caddyfile.is_old(outside):
            log.info("%s: the admin line of an earlier version is replaced", self._path)
        tls = self.keeper.current()
        look = replace(self._look, mark_key=self._caddy.secret, tls=tls)
        block = render(self._rows, wanted, look, self._templates, self.left_out)
        around = caddyfile.split(outside, self._path)
        if tls is not None:
            around = around.with_options(options(self._settings, tls))
        return found, around.around(block)

    def _read(self) -> str | None:
        return caddyfile.read(self._path)

    def _check(self, rows: Iterable[PortRow], wanted: Mapping[int, Opening]) -> None:
        served = [row for row in rows if row.port not in self.left_out]
        tls = self._settings.tls != "off"
        probe.check(self._host, served, wanted, tls=tls)
        if tls and self.openings is None and not self._text:
            probe.check_page(self._settings.manager_host, self._settings.manager_port)

    def _taken(self, row: PortRow) -> str | None:
        for port in (row.workspace_port, row.external_port):
            if not probe.is_free(self._host, port):
                return self._describe(row, port)
        return None

    def _describe(self, row: PortRow, port: int) -> str:
        who = runtime.offload(probe.holder, port)
        return (
            f"端口 {row.port}: gate port {port} is taken by another program ({who}); "
            "end that program or change PORTS"
        )

    def _leave_out(self, error: admin.LoadRefused) -> None:
        """Go on without the row whose port Caddy could not get, if that is why it refused."""
        for row in self._rows:
            ports = (row.workspace_port, row.external_port)
            if error.taken_port in ports and row.port not in self.left_out:
                self.left_out[row.port] = self._describe(row, error.taken_port or 0)
                log.warning("%s", self.left_out[row.port])
                return
        raise error
