"""Write docs/sbom.cdx.json: what the program is made of, as a CycloneDX bill of materials.

    venv/bin/python -m tests.support.sbom

Versions and hashes are those of ``requirements.lock`` and ``static/vendor/SHA256SUMS``, licences
those of ``docs/licences.md``. The same input gives the same file: it carries no time and no chance.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent.parent
OUTPUT = ROOT / "docs" / "sbom.cdx.json"
NAME = "comfyui-multi-user-manager"


def locked(name: str = "requirements.lock") -> list[tuple[Requirement, list[str]]]:
    """Read a lock: each requirement with its SHA-256 hashes."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        (Requirement(line.split("--hash=")[0].strip()), re.findall(r"--hash=sha256:(\S+)", line))
        for line in text.splitlines()
        if line and not line.startswith("#")
    ]


def vendored() -> dict[str, str]:
    """Read which files of others are carried, each with its SHA-256."""
    text = (ROOT / "static" / "vendor" / "SHA256SUMS").read_text(encoding="utf-8")
    return {name: sha256 for sha256, name in map(str.split, text.splitlines())}


def licences() -> dict[str, str]:
    """Read the licence of each package out of docs/licences.md."""
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    return {
        re.sub(r"[-_.]+", "-", name.strip()).lower(): words.strip().replace(" and ", " AND ")
        for name, words in re.findall(r"^\| ([^|]+) \| ([^|]+) \|", text, re.MULTILINE)
    }


def _packages() -> Iterator[Component]:
    known = licences()
    for requirement, _ in locked():
        (pin,) = requirement.specifier
        name = requirement.name.lower()
        yield Component(
            name=name,
            version=pin.version,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", name=name, version=pin.version),
            bom_ref=f"pkg:pypi/{name}@{pin.version}",
            licenses=[LicenseExpression(known[name])],
            description=f"only where {requirement.marker}" if requirement.marker else None,
        )


def _files() -> Iterator[Component]:
    for name, sha256 in vendored().items():
        if "LICENSE" in name:
            continue
        package, version = re.fullmatch(r"(.+?)-(\d[\d.]*\d)\..*", name).groups()  # type: ignore[union-attr]
        yield Component(
            name=f"static/vendor/{name}",
            version=version,
            type=ComponentType.FILE,
            purl=PackageURL("npm", name=package, version=version),
            bom_ref=name,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
            licenses=[DisjunctiveLicense(id="MIT")],
        )


def render() -> str:
    """Give the file's text."""
    whole = Component(name=NAME, type=ComponentType.APPLICATION, bom_ref=NAME)
    bom = Bom(
        components=[*_packages(), *_files()], serial_number=uuid.uuid5(uuid.NAMESPACE_DNS, NAME)
    )
    bom.metadata.component = whole
    bom.register_dependency(whole, bom.components)
    content = json.loads(JsonV1Dot6(bom).output_as_string())
    del content["metadata"]["timestamp"]
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(render(), encoding="utf-8")
