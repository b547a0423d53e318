"""Ask whether something is known against a package of the locks.

    venv/bin/python -m tests.support.audit

A step of ``start_manager.sh test``. pip-audit (https://pypi.org/project/pip-audit/) asks PyPI's own
answers about each version, else OSV. Where neither can be reached, one line says so and nothing
fails. What is found does, unless ``tests/data/accepted_vulnerabilities.toml``
says why not and until when. ``AUDIT_OSV_URL`` names another service that speaks as OSV does, and
then that alone is asked.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import tomllib
from packaging.requirements import Requirement

from tests.support import sbom

LOCKS = ("requirements.lock", "requirements-dev.lock")
ACCEPTED = sbom.ROOT / "tests" / "data" / "accepted_vulnerabilities.toml"

KNOWN = ("jinja2", "2.10")
"""PYSEC-2019-217: who knows nothing against it is no database, whatever it answers."""

PYPI_URL = f"https://pypi.org/pypi/{KNOWN[0]}/{KNOWN[1]}/json"
"""https://docs.pypi.org/api/json/#get-a-release, "vulnerabilities"."""

OSV_URL = "https://api.osv.dev/v1/query"
"""https://google.github.io/osv.dev/post-v1-query/."""

ANSWER_S, PROBE_S, AUDIT_S = 5.0, 20.0, 300.0
"""For one answer; for the question whether anybody is there, names looked up; for all packages."""


class Unreached(Exception):
    """Nobody answers as a database would."""


@dataclass(frozen=True)
class Found:
    """What is known against a version of a package."""

    package: str
    version: str
    ids: tuple[str, ...]
    fixed: str


@dataclass(frozen=True)
class Accepted:
    """What is known and let be: why, and for how long."""

    id: str
    package: str
    reason: str
    until: dt.date

    def covers(self, found: Found, today: dt.date) -> bool:
        """Tell whether it is about ``found`` and still holds."""
        same = (self.package, True) == (found.package, self.id in found.ids)
        return same and today <= self.until


def services() -> dict[str, str]:
    """Give whom to ask, by pip-audit's name of it."""
    own = os.environ.get("AUDIT_OSV_URL")
    return {"osv": own} if own else {"pypi": PYPI_URL, "osv": OSV_URL}


def probe(service: str, url: str) -> None:
    """Ask about what is known.

    Raises:
        Unreached: nobody answers, or not as a database does.
    """
    name, version = KNOWN
    query = {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
    try:
        if service == "pypi":
            answer = requests.get(url, timeout=ANSWER_S)
        else:
            answer = requests.post(url, json=query, timeout=ANSWER_S)
        answer.raise_for_status()
        known = answer.json().get("vulnerabilities" if service == "pypi" else "vulns")
    except (requests.RequestException, ValueError, AttributeError) as error:
        raise Unreached(f"{url.split('/')[2]}: {type(error).__name__}") from error
    if not known:
        raise Unreached(f"{url.split('/')[2]}: knows nothing")


def reached(asked: dict[str, str]) -> str:
    """Give the first service that answers; each is asked by a process that can be ended.

    Raises:
        Unreached: names each, and why not.
    """
    why = []
    for service, url in asked.items():
        words = [sys.executable, "-m", __spec__.name, "--probe", service, url]
        try:
            done = subprocess.run(
                words, cwd=sbom.ROOT, capture_output=True, text=True, timeout=PROBE_S, check=False
            )
        except subprocess.TimeoutExpired:
            why.append(f"{url.split('/')[2]}: no answer in {PROBE_S:g} s")
            continue
        if done.returncode == 0:
            return service
        why.append((done.stdout.strip() or done.stderr.strip()).splitlines()[-1])
    raise Unreached("; ".join(why))


def rounds(locks: Iterable[str]) -> Iterator[list[str]]:
    """Give all versions of all locks, also those for another Python, none twice in one list."""
    left = {(one.name.lower(), str(one.specifier)) for lock in locks for one in _locked(lock)}
    while left:
        turn = dict(sorted(left, reverse=True))
        yield [f"{name}{pin}" for name, pin in sorted(turn.items())]
        left -= set(turn.items())


def _locked(lock: str) -> list[Requirement]:
    return [requirement for requirement, _hashes in sbom.locked(lock)]


def ask(service: str, url: str, packages: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Have pip-audit ask about packages.

    Raises:
        RuntimeError: it gave no result; with its last words.
    """
    listed = folder / "packages.txt"
    listed.write_text("\n".join(packages) + "\n", encoding="utf-8")
    where = ["--osv-url", url] if service == "osv" else []
    how = ["--timeout", f"{ANSWER_S:.0f}", "--cache-dir", str(folder / "cache")]
    words = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", "-s", service, *where, *how, *words]
    try:
        done = subprocess.run(
            [*command, "-r", str(listed)],
            capture_output=True,
            text=True,
            timeout=AUDIT_S,
            check=False,
        )
        told: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no result in {AUDIT_S:g} s") from None
    except (ValueError, LookupError, TypeError):
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()[-300:]}") from None
    return told


def accepted(path: Path) -> list[Accepted]:
    """Read what is let be; each line of it whole."""
    told = tomllib.loads(path.read_text(encoding="utf-8")).get("accepted", [])
    found = [Accepted(**one) for one in told]
    for one in found:
        if type(one.until) is not dt.date or not one.reason.strip():
            raise ValueError(f"{path.name}: {one.id} needs a reason, and a date as until")
    return found


def known_against(told: Iterable[dict[str, Any]]) -> Iterator[Found]:
    """Read pip-audit's result."""
    for one in told:
        for vuln in one.get("vulns", []):
            ids = (vuln["id"], *vuln.get("aliases", []))
            fixed = ", ".join(vuln["fix_versions"]) or "nowhere"
            yield Found(one["name"], one["version"], ids, fixed)


def audit(locks: Iterable[str], letting: Sequence[Accepted], today: dt.date) -> int:
    """Ask, say what came of it, and give the exit code."""
    asked = services()
    told: list[dict[str, Any]] = []
    try:
        service = reached(asked)
        with tempfile.TemporaryDirectory() as folder:
            try:
                for packages in rounds(locks):
                    told += ask(service, asked[service], packages, Path(folder))
            except RuntimeError as error:
                # Was the way lost meanwhile, or is pip-audit broken?
                reached({service: asked[service]})
                return say(f"pip-audit: {error}", 1)
    except Unreached as error:
        return say(f"audit: no database of vulnerabilities was reached ({error}): not audited", 0)
    found = list(known_against(told))
    bad = [one for one in found if not any(it.covers(one, today) for it in letting)]
    for one in bad:
        say(f"audit: {one.package} {one.version}: {' '.join(one.ids)}; mended in {one.fixed}")
    skipped = [f"{one['name']}: {one['skip_reason']}" for one in told if "skip_reason" in one]
    for line in skipped:
        say(f"audit: not audited: {line}")
    if bad:
        say(f"audit: take other versions, or say in {ACCEPTED.name} why not and until when")
    count = len(told) - len(skipped)
    say(
        f"audit: {count} packages by {service}, {len(bad)} problems, {len(found) - len(bad)} let be"
    )
    return 1 if bad else 0


def say(line: str, code: int = 0) -> int:
    """Print a line and give the code."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    return code


def main(words: Sequence[str]) -> int:
    """Do what is asked for."""
    if words[:1] == ["--probe"]:
        try:
            probe(*words[1:3])
        except Unreached as error:
            return say(str(error), 1)
        return 0
    today = dt.datetime.now(dt.timezone.utc).date()
    return audit(words or LOCKS, accepted(ACCEPTED), today)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
