"""A page's scripts as one file, and all styles as one: made of our own files, without a build step.

Each module that a page's script imports would be a request, and a browser learns of the next ones
only when it has read the first. So what is served as a page's script is that module and all that it
imports, each in a function of its own, in the order in which the browser would run them.

It knows the forms of import and export that our modules and the vendored ones have, and refuses any
other: ``Unknown`` is a mistake in a file, which the tests find.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

FIRST_STYLES = ("base.css", "components.css")
"""Before all others, which refine them."""

STYLES = "css/all.css"
"""The address of all styles together; no file has this name."""

_IMPORT = re.compile(
    r'^import (?:(?P<default>\w+) from |\{ *(?P<names>[^}]*?),? *\} from )?"(?P<path>[^"]+)";$',
    re.M,
)
_EXPORT = re.compile(r"^export (?=(?:async )?function |const |class )", re.M)
_EXPORTED = re.compile(r"^export (?:async function|function|const|class) (\w+)", re.M)
_EXPORT_LIST = re.compile(r"(?:^|;)export ?\{ ?([^}]*?) ?\};?\s*(?=\n|\Z)", re.M)
_REMARK = re.compile(r"^/\*.*?\*/", re.M | re.S)
"""A comment on lines of its own, such as one around code that is not in force."""
_LEFT = re.compile(r"^(?:import|export)\b.*", re.M)


class Unknown(Exception):
    """A module says something that is not understood here."""


def bundles(folder: Path) -> Mapping[str, str]:
    """Give what is served in place of a file, or beside the files, by address below ``folder``."""
    pages = sorted((folder / "js" / "pages").glob("*.js"))
    scripts = {str(page.relative_to(folder)): script(page) for page in pages}
    return {**scripts, STYLES: styles(folder / "css")}


def styles(folder: Path) -> str:
    """Put all styles into one."""
    rest = sorted(path for path in folder.glob("*.css") if path.name not in FIRST_STYLES)
    paths = [folder / name for name in FIRST_STYLES if (folder / name).is_file()] + rest
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def script(entry: Path) -> str:
    """Put a module and all that it imports into one module, with the exports of the first.

    Raises:
        Unknown: a module is written in a form that is not known here, or two import each other.
    """
    parts: dict[Path, str] = {}
    _add(entry.resolve(), parts, ())
    names = [f"m{number}" for number in range(len(parts))]
    written = [f"const {name} = {part}" for name, part in zip(names, parts.values(), strict=True)]
    exports = _exports(entry.read_text(encoding="utf-8"))
    shown = f"\nexport const {{ {', '.join(exports)} }} = {names[-1]};" if exports else ""
    return "\n".join(written) + shown + "\n"


def _add(path: Path, parts: dict[Path, str], above: tuple[Path, ...]) -> None:
    """Add a module behind those that it imports."""
    if path in above:
        raise Unknown(f"{path.name} imports what imports it")
    if path in parts:
        return
    text = path.read_text(encoding="utf-8")
    for found in _IMPORT.finditer(text):
        _add((path.parent / found["path"]).resolve(), parts, (*above, path))
    numbers = {known: f"m{number}" for number, known in enumerate(parts)}
    exports = _exports(text)

    def taken(found: re.Match[str]) -> str:
        source = numbers[(path.parent / found["path"]).resolve()]
        if found["default"]:
            return f"const {found['default']} = {source}.default;"
        return f"const {{ {_pairs(found['names'])} }} = {source};" if found["names"] else ""

    body = _EXPORT_LIST.sub(";", _EXPORT.sub("", _IMPORT.sub(taken, text)))
    left = _LEFT.search(body)
    if left is not None:
        raise Unknown(f"{path.name}: {left[0][:80]}")
    given = ", ".join(f"{name}: {local}" for name, local in exports.items())
    parts[path] = f"(() => {{\n{body}\nreturn {{ {given} }};\n}})();"


def _pairs(names: str) -> str:
    """Write what is imported as what is taken out of an object: other names with a colon."""
    return ", ".join(one.strip().replace(" as ", ": ") for one in names.split(","))


def _exports(text: str) -> dict[str, str]:
    """List what a module exports, and what it calls that itself."""
    text = _REMARK.sub("", text)
    found = {name: name for name in _EXPORTED.findall(text)}
    for names in _EXPORT_LIST.findall(text):
        for one in names.split(","):
            local, _, name = one.strip().partition(" as ")
            found[name or local] = local
    return found
