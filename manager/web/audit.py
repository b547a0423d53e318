"""The audit for admins: a page with filters, and files of it. Complete without a script."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from manager import runtime
from manager.audit_records import AuditFilter, AuditLine
from manager.errors import BadInput
from manager.web import bodies
from manager.web.answers.admin import AuditCheck, AuditLines
from manager.web.contract import Files, contract
from manager.web.services import services
from manager.web.usage import spreadsheet_cell

admin_audit = Blueprint("admin_audit", __name__)

SHOWN = 50
MOST_IN_A_FILE = 100_000
LONGEST = 256
FILES = ("csv", "jsonl")

View = dict[str, Any]


class AuditQuery(bodies.Query):
    """Which lines are wanted; what is empty narrows nothing. Days are the server's own.

    ``until`` counts whole; ``before`` is a line's number.
    """

    actor: str = ""
    action: str = ""
    subject: str = ""
    since: bodies.MaybeDay = None
    until: bodies.MaybeDay = None
    before: bodies.MaybeNumber = None

    def filter(self) -> AuditFilter:
        """Give it as the audit reads it.

        Raises:
            BadInput: a day is so far away that it has no time.
        """
        return AuditFilter(
            actor=self.actor.strip()[:LONGEST],
            action=self.action.strip()[:LONGEST],
            subject=self.subject.strip()[:LONGEST],
            since=_begins(self.since, "since", 0),
            until=_begins(self.until, "until", 1),
            before=self.before,
        )


def _begins(day: dt.date | None, field: str, more: int) -> float | None:
    if day is None:
        return None
    try:
        day += dt.timedelta(days=more)
        return dt.datetime.combine(day, dt.time()).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise BadInput(f"{field} must be a day", reason="field", field=field) from None


def line_view(line: AuditLine) -> View:
    """Give a line as pages and files show it."""
    return {"id": line.id, **vars(line.entry), "hash": line.hash}


@admin_audit.get("/admin/audit")
def page() -> ResponseReturnValue:
    """Show the newest lines that fit, and whether the audit is whole."""
    trail, wanted = services().manager.audit, bodies.read_query(AuditQuery).filter()
    found = trail.page(wanted, SHOWN + 1)
    given = {
        name: value
        for name, value in request.args.items()
        if value and name in _FIELDS - {"before"}
    }
    return render_template(
        "audit.html",
        lines=[line_view(line) for line in found[:SHOWN]],
        older={**given, "before": found[SHOWN - 1].id} if len(found) > SHOWN else None,
        newest=wanted.before is None,
        given=given,
        actions=trail.actions(),
        check=trail.verify(),
    )


_FIELDS = frozenset({"actor", "action", "subject", "since", "until", "before"})


@admin_audit.get("/api/admin/audit")
@contract(AuditLines)
def lines(query: AuditQuery) -> ResponseReturnValue:
    """Give a page of lines, newest first; the next one is asked for with ``before``."""
    found = services().manager.audit.page(query.filter(), SHOWN)
    return {"lines": [line_view(line) for line in found]}


@admin_audit.get("/api/admin/audit/check")
@contract(AuditCheck)
def check() -> ResponseReturnValue:
    """Say whether the audit is whole: the first line that does not fit, else null."""
    return vars(services().manager.audit.verify())


@admin_audit.get("/api/admin/audit.<any(csv, jsonl):kind>")
@contract(Files(("text/csv", "application/jsonl")))
def file(kind: str, query: AuditQuery) -> ResponseReturnValue:
    """Give what fits as a file, oldest first; at most the newest 100,000 lines."""
    found = services().manager.audit.oldest_first(query.filter(), MOST_IN_A_FILE)
    write, mimetype = (_csv, "text/csv") if kind == "csv" else (_json_lines, "application/jsonl")
    headers = {"Content-Disposition": f'attachment; filename="audit.{kind}"'}
    return Response(runtime.offload(write, found), mimetype=mimetype, headers=headers)


def _json_lines(found: Sequence[AuditLine]) -> str:
    rows = [json.dumps(line_view(line), ensure_ascii=False) for line in found]
    return "".join(f"{row}\n" for row in rows)


def _csv(found: Sequence[AuditLine]) -> str:
    """Write rows under their names, with the mark by which spreadsheets know UTF-8."""
    output = io.StringIO()
    output.write("\ufeff")
    writer = csv.writer(output)
    writer.writerow(("id", "at", "actor", "action", "subject", "detail", "address", "hash"))
    for line in found:
        writer.writerow([spreadsheet_cell(value) for value in line_view(line).values()])
    return output.getvalue()
