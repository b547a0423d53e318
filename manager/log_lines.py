"""How a line of the manager's log is written: as text, or as one JSON object for programs.

``端口 8001`` stands in both as it is, for whoever searches for a port. Used by ``cli`` alone.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re

TEXT, JSON = "text", "json"
_PORT = re.compile(r"端口 (\d+)")


class TextLines(logging.Formatter):
    """Time, level, room and message; the request's id at the end where there is one."""

    def __init__(self) -> None:
        """Take no choices."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the line, without a traceback."""
        line = super().formatMessage(record)
        number = getattr(record, "request_id", "")
        return f"{line} [request {number}]" if number else line


class JsonLines(logging.Formatter):
    """One object a line: ``at`` (UTC), ``level``, ``logger``, ``message``, what more is known."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the line; a traceback is a member of it, not more lines."""
        at = dt.datetime.fromtimestamp(record.created, dt.timezone.utc)
        message = record.getMessage()
        line: dict[str, object] = {
            "at": at.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
        }
        found = _PORT.search(message)
        if found:
            line["port"] = int(found[1])
        number = getattr(record, "request_id", "")
        if number:
            line["request_id"] = number
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def formatter(kind: str) -> logging.Formatter:
    """Give the one for ``LOG_FORMAT``."""
    return JsonLines() if kind == JSON else TextLines()
