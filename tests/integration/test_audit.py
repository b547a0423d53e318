"""The step that asks what is known against our packages, beside a service that speaks as OSV does.

Its answers have the form of https://ossf.github.io/osv-schema/; pip-audit is the real one.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support import audit, sbom
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

TODAY = dt.date(2026, 11, 30)
LOCK = "harmless==1.0 --hash=sha256:00\nhole==2.0 --hash=sha256:00\n"


class Osv(ThreadingHTTPServer):
    """A database of vulnerabilities that knows what it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.known = {audit.KNOWN: ["PYSEC-2019-217"]}
        self.asked: list[tuple[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1/query"

    def answer(self, name: str, version: str) -> dict[str, Any]:
        """Say what is known, as OSV does."""
        ids = self.known.get((name, version), [])
        return {"vulns": [self._one(name, one) for one in ids]} if ids else {}

    def _one(self, name: str, found: str) -> dict[str, Any]:
        events = [{"introduced": "0"}, {"fixed": "9.9"}]
        package = {"name": name, "ecosystem": "PyPI"}
        ranges = [{"type": "ECOSYSTEM", "events": events}]
        return {
            "id": found,
            "aliases": [f"CVE-of-{found}"],
            "summary": "A hole.",
            "schema_version": "1.7.0",
            "affected": [{"package": package, "ranges": ranges}],
        }


class Asked(BaseHTTPRequestHandler):
    """One question."""

    server: Osv

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, version = asked["package"]["name"], asked["version"]
        self.server.asked.append((name, version))
        body = json.dumps(self.server.answer(name, version)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def osv(monkeypatch: pytest.MonkeyPatch) -> Iterator[Osv]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Osv() as made:
        monkeypatch.setenv("AUDIT_OSV_URL", made.url)
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def lock(tmp_path: Path) -> str:
    path = tmp_path / "some.lock"
    path.write_text(LOCK)
    return str(path)


def let(tmp_path: Path, until: str, name: str = "hole", found: str = "PYSEC-1") -> Path:
    path = tmp_path / "accepted.toml"
    lines = {"id": f'"{found}"', "package": f'"{name}"', "reason": '"not called"', "until": until}
    path.write_text("[[accepted]]\n" + "".join(f"{key} = {lines[key]}\n" for key in lines))
    return path


def test_what_is_found_fails_with_words(
    osv: Osv, lock: str, capsys: pytest.CaptureFixture[str]
) -> None:
    osv.known["hole", "2.0"] = ["PYSEC-1"]
    assert audit.audit([lock], [], TODAY) == 1
    said = capsys.readouterr().out
    assert "hole 2.0: PYSEC-1 CVE-of-PYSEC-1; mended in 9.9" in said
    assert "accepted_vulnerabilities.toml" in said
    assert "harmless" not in said


def test_nothing_is_found_in_what_is_installed_and_each_package_is_asked_for(
    osv: Osv, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.audit(audit.LOCKS, audit.accepted(audit.ACCEPTED), TODAY) == 0
    locked = {
        (requirement.name.lower(), pin.version)
        for name in audit.LOCKS
        for requirement, _hashes in sbom.locked(name)
        for pin in requirement.specifier
    }
    assert set(osv.asked) - {audit.KNOWN} == locked
    assert f"audit: {len(locked)} packages by osv, 0 problems, 0 let be" in capsys.readouterr().out


def test_nobody_there_says_so_in_a_line_and_fails_nothing(
    lock: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUDIT_OSV_URL", f"http://127.0.0.1:{free_ports(1)[0]}/v1/query")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert audit.audit([lock], [], TODAY) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("audit: no database of vulnerabilities was reached (127.0.0.1")


def test_who_answers_and_knows_nothing_is_no_database(
    osv: Osv, lock: str, capsys: pytest.CaptureFixture[str]
) -> None:
    osv.known.clear()
    assert audit.audit([lock], [], TODAY) == 0
    assert "knows nothing): not audited" in capsys.readouterr().out


def test_a_tool_that_does_not_work_fails_while_the_database_is_there(
    osv: Osv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.lock"
    path.write_text("harmless==1.0.*\n")
    assert osv.url
    assert audit.audit([str(path)], [], TODAY) == 1
    assert "pip-audit: exit code" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("until", "name", "found", "code"),
    [
        ("2026-11-30", "hole", "PYSEC-1", 0),
        ("2026-11-30", "hole", "CVE-of-PYSEC-1", 0),
        ("2026-11-29", "hole", "PYSEC-1", 1),
        ("2026-11-30", "hole", "PYSEC-2", 1),
        ("2026-11-30", "harmless", "PYSEC-1", 1),
    ],
)
def test_what_is_let_be_is_so_for_its_package_and_its_time(
    osv: Osv, lock: str, tmp_path: Path, until: str, name: str, found: str, code: int
) -> None:
    osv.known["hole", "2.0"] = ["PYSEC-1"]
    letting = audit.accepted(let(tmp_path, until, name, found))
    assert audit.audit([lock], letting, TODAY) == code


@pytest.mark.parametrize("until", ['"for ever"', "2026-11-30T00:00:00"])
def test_letting_be_needs_a_day(tmp_path: Path, until: str) -> None:
    with pytest.raises(ValueError, match="needs a reason, and a date"):
        audit.accepted(let(tmp_path, until))
