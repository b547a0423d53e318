"""The operator's command ``doctor``: what is in order, what is not, and what to do."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict

from manager.data_dir import read_record
from manager.doctor.examine import examine
from manager.doctor.finding import PROBLEM, worst
from manager.settings import Settings
from manager.web.i18n import LANGUAGES, translate

EXIT_PROBLEM = 1


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach a parser the command."""
    doctor = commands.add_parser("doctor", help="look at everything and say what to do")
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument("--lang", choices=list(LANGUAGES), help="language; by LANG if left out")
    doctor.add_argument("--exit-zero", action="store_true", help="exit code 0 whatever was found")
    doctor.set_defaults(run=run_doctor)


def run_doctor(settings: Settings, given: argparse.Namespace) -> int:
    """Look at everything; exit code 1 when there is a problem."""
    findings = examine(settings, *read_record(settings.data_dir))
    level = worst(findings)
    language = given.lang or _language()
    lines = [
        {**asdict(one), "text": translate(language, one.key, **one.params)} for one in findings
    ]
    if given.json:
        print(json.dumps({"level": level, "findings": lines}, ensure_ascii=False))
    else:
        for one, line in zip(findings, lines, strict=True):
            mark = translate(language, f"doctor.level.{one.level}")
            print(f"[{mark}] {translate(language, f'doctor.check.{one.check}')}: {line['text']}")
        print(translate(language, f"doctor.worst.{level}"))
    return EXIT_PROBLEM if level == PROBLEM and not given.exit_zero else 0


def _language() -> str:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            return "zh_CN" if os.environ[name].lower().startswith("zh") else "en"
    return "en"
