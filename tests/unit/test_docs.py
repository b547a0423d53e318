"""The documents say what the code does."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import manager
from docs import render
from manager import settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = settings.ROOT
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("name", [*render.BLOCKS, *render.FILES])
def test_parts_made_from_the_code_are_up_to_date(name: str) -> None:
    stale = render.stale()

    assert name not in stale, "run: venv/bin/python docs/render.py"


def test_every_setting_is_in_both_tables() -> None:
    for table in (render.settings_english(), render.settings_chinese()):
        rows = re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)
        assert rows == settings.names()


def test_no_chinese_text_is_left_of_a_setting_that_is_gone() -> None:
    assert set(render.CHINESE_HELP) == set(settings.names())


def test_the_example_file_uncommented_is_valid_and_changes_nothing(tmp_path: Path) -> None:
    text = (ROOT / "manager.toml.example").read_text(encoding="utf-8")
    uncommented = re.sub(r"^#(?=[A-Z\[a-z])", "", text, flags=re.MULTILINE)
    example = tmp_path / "manager.toml"
    example.write_text(uncommented, encoding="utf-8")

    assert set(tomllib.loads(uncommented)) == set(settings.names())
    nothing = tmp_path / "nothing.toml"
    nothing.touch()
    assert settings.load({}, example) == settings.load({}, nothing)


def test_the_changelog_s_top_release_is_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(\d[^\]]*)\]", text, re.MULTILINE)

    assert releases[0] == manager.__version__


def test_both_readmes_have_the_same_parts() -> None:
    def skeleton(name: str) -> list[str]:
        text = (ROOT / name).read_text(encoding="utf-8")
        return re.findall(r"^(#+ |```\w*|<!-- .* -->|!\[)", text, re.MULTILINE)

    assert skeleton("README.md") == skeleton("README.zh-CN.md")


def test_both_readmes_show_the_same_commands() -> None:
    def commands(name: str) -> list[str]:
        text = (ROOT / name).read_text(encoding="utf-8")
        blocks = re.findall(r"^```(?:bash|toml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        return [re.sub(r"\s*#.*", "", block) for block in blocks]

    assert commands("README.md") == commands("README.zh-CN.md")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"https?:|#", link):
            continue
        path, _, heading = link.partition("#")
        target = document.parent / path
        assert target.is_file(), f"{document.name} links to {link}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings]
            assert heading in slugs, f"{document.name} links to {link}"


def test_every_requirement_s_licence_is_listed() -> None:
    listed = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8").lower()
    required = re.findall(
        r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
    )

    assert [name for name in required if f"| {name.lower()} |" not in listed] == []


def test_every_vendored_file_s_licence_is_listed() -> None:
    listed = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    vendored = [path.name for path in (ROOT / "static" / "vendor").glob("*LICENSE*")]

    assert [name for name in vendored if name not in listed] == []
