"""What the program is made of: each part pinned by its hash, and listed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from pathlib import Path

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import sbom

ROOT = Path(__file__).resolve().parent.parent.parent
RUNTIME, DEVELOPMENT = "requirements", "requirements-dev"


def locked(name: str) -> dict[str, set[str]]:
    """Give the versions that a lock allows of each package."""
    found: dict[str, set[str]] = {}
    for requirement, _ in sbom.locked(f"{name}.lock"):
        (pin,) = requirement.specifier
        found.setdefault(canonicalize_name(requirement.name), set()).add(pin.version)
    return found


def asked(name: str) -> list[Requirement]:
    text = (ROOT / f"{name}.txt").read_text(encoding="utf-8")
    return [Requirement(line) for line in text.splitlines() if re.match(r"[A-Za-z]", line)]


@pytest.mark.parametrize("name", [RUNTIME, DEVELOPMENT])
def test_every_line_of_a_lock_has_hashes(name: str) -> None:
    lines = sbom.locked(f"{name}.lock")
    assert lines
    for requirement, hashes in lines:
        assert hashes, requirement.name
        assert all(re.fullmatch(r"[0-9a-f]{64}", one) for one in hashes), requirement.name
        assert [one.operator for one in requirement.specifier] == ["=="], requirement.name


@pytest.mark.parametrize("name", [RUNTIME, DEVELOPMENT])
def test_a_lock_has_what_is_asked_for(name: str) -> None:
    for requirement in asked(name):
        (pin,) = requirement.specifier
        assert pin.version in locked(name)[canonicalize_name(requirement.name)], requirement


def test_a_lock_has_whatever_that_needs_as_these_tests_run_with() -> None:
    lock, seen = locked(RUNTIME), set[str]()
    todo = [one.name for one in asked(RUNTIME) if not one.marker or one.marker.evaluate()]
    while todo:
        name = canonicalize_name(todo.pop())
        if name in seen:
            continue
        seen.add(name)
        assert importlib.metadata.version(name) in lock[name], name
        needed = map(Requirement, importlib.metadata.requires(name) or [])
        todo += [x.name for x in needed if not x.marker or x.marker.evaluate({"extra": ""})]
    assert len(seen) > len(asked(RUNTIME))


def test_every_locked_package_s_licence_is_listed() -> None:
    assert [name for name in locked(RUNTIME) if name not in sbom.licences()] == []


def test_every_vendored_file_is_the_one_that_was_chosen() -> None:
    folder = ROOT / "static" / "vendor"
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "SHA256SUMS"
    }
    assert there == sbom.vendored()


def test_the_bill_of_materials_is_up_to_date_and_valid() -> None:
    text = sbom.OUTPUT.read_text(encoding="utf-8")
    assert text == sbom.render(), "run: venv/bin/python -m tests.support.sbom"
    validator = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6)
    assert validator.validate_str(text) is None


def test_the_tests_ask_what_is_known_against_it() -> None:
    script = (ROOT / "start_manager.sh").read_text(encoding="utf-8")
    (step,) = re.findall(r"run_tests\(\) \{.*?^\}", script, re.DOTALL | re.MULTILINE)
    assert '"$PY" -m tests.support.audit' in step[: step.index("-m pytest")]
    assert "set -euo pipefail" in script
