"""The doctor on the admins' page: examines on request in a process of its own, keeps the result.

A GET shows what was found last; nothing is examined because somebody looks at the page.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, current_app, redirect, url_for
from flask.typing import ResponseReturnValue

from manager.cards.reading import Unreadable
from manager.cards.tool import Tools
from manager.doctor.finding import Finding
from manager.settings import ROOT
from manager.web import i18n
from manager.web.answers.admin import Examination
from manager.web.contract import contract

admin_doctor = Blueprint("admin_doctor", __name__)

EXTENSION = "comfyui_manager_doctor"
COMMAND = (sys.executable, str(ROOT / "comfyui_manager.py"), "doctor", "--json", "--exit-zero")
LIMIT_S = 180.0


@dataclass(frozen=True)
class Result:
    """What was found last. ``at`` is in UTC epoch seconds, None before the first time."""

    running: bool = False
    at: float | None = None
    level: str = ""
    findings: tuple[Finding, ...] = ()
    failed: str = ""


class Doctor:
    """Examines one at a time, in the background."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        """Say what examines; nothing is begun."""
        self._command = command
        self._lock = threading.Lock()
        self._result = Result()
        self._tools = Tools(LIMIT_S)

    def result(self) -> Result:
        """Give what was found last."""
        return self._result

    def begin(self) -> threading.Thread | None:
        """Begin an examination and return; None when one is under way."""
        with self._lock:
            if self._result.running:
                return None
            self._result = replace(self._result, running=True)
        thread = threading.Thread(target=self._examine, name="doctor", daemon=True)
        thread.start()
        return thread

    def _examine(self) -> None:
        found = Result(at=time.time(), failed="?")
        try:
            self._tools.begin()
            told = json.loads(self._tools.run(self._command))
            findings = tuple(
                Finding(one["check"], one["level"], one["case"], one["params"])
                for one in told["findings"]
            )
            found = Result(at=time.time(), level=told["level"], findings=findings)
        except (Unreadable, ValueError, LookupError, TypeError) as error:
            found = Result(at=time.time(), failed=str(error))
        finally:
            self._result = found


def doctor() -> Doctor:
    """Give the doctor of the application that answers."""
    found: Doctor = current_app.extensions[EXTENSION]
    return found


def doctor_view() -> dict[str, Any]:
    """Show what was found last, in the reader's language."""
    result = doctor().result()
    return {
        "running": result.running,
        "at": result.at,
        "level": result.level,
        "failed": result.failed,
        "findings": [
            {
                "check": one.check,
                "level": one.level,
                "level_text": i18n.t(f"doctor.level.{one.level}"),
                "title": i18n.t(f"doctor.check.{one.check}"),
                "text": i18n.t(one.key, **one.params),
            }
            for one in result.findings
        ],
    }


@admin_doctor.get("/api/admin/doctor")
@contract(Examination)
def show() -> ResponseReturnValue:
    """Give what was found last."""
    return doctor_view()


@admin_doctor.post("/api/admin/doctor")
@contract(Examination, status=202)
def begin() -> ResponseReturnValue:
    """Begin an examination."""
    doctor().begin()
    return doctor_view(), 202


@admin_doctor.post("/admin/doctor")
def begin_and_return() -> ResponseReturnValue:
    """Begin one for a page without a script."""
    doctor().begin()
    return redirect(url_for("pages.admin", _anchor="doctor"))
