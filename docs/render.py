"""Write the parts of the documents that repeat the code, from the code.

    venv/bin/python docs/render.py          rewrite the blocks in place
    venv/bin/python docs/render.py --check  only say which documents are out of date (exit 1)

A block stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. Nothing outside of blocks
is touched; a setting without its Chinese text (``locales/settings.zh_CN.json``, which the page of
the settings shows too) is an error, so it cannot be forgotten.
``tests/unit/test_docs.py`` keeps all of it honest.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from docs import render_api  # noqa: E402 - the line above finds them
from manager import settings, states  # noqa: E402
from manager.launcher.guarded import ATTEMPTS, LANDLOCK_SIGNALS, guarded  # noqa: E402
from manager.launcher.isolation import DIRECTORIES, SANDBOX, USER  # noqa: E402
from manager.ports import DEFAULT_PORTS  # noqa: E402
from manager.web import setting_words  # noqa: E402

CHINESE_HELP = setting_words.chinese()["help"]


def _default(value: object, empty: str, ports: str) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in ("", ()):
        return empty
    if isinstance(value, tuple) and isinstance(value[0], str):
        return f"`{','.join(value)}`"
    if isinstance(value, tuple):
        return ports
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`"


def _rows(head: str, row: Callable[[str, object], list[str]]) -> str:
    columns = head.count("|") - 1
    lines = [head, "|" + "---|" * columns]
    for field in dataclasses.fields(settings.Settings):
        cells = [cell.replace("|", "\\|") for cell in row(field.name.upper(), field.default)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def settings_english() -> str:
    """Render the table of settings."""

    def row(name: str, default: object) -> list[str]:
        about = settings.describe(name)
        shown = _default(default, "*empty*", "the table above")
        return [f"`{name}`", shown, about["unit"], about["allowed"], about["help"]]

    return _rows("| Setting | Default | Unit | Allowed | What it does |", row)


def settings_chinese() -> str:
    """Render the table of settings in Chinese."""

    def row(name: str, default: object) -> list[str]:
        shown = _default(default, "*空*", "上面的端口表")
        told = setting_words.describe(name, "zh_CN")
        return [f"`{name}`", shown, told["unit"], told["allowed"], told["help"]]

    return _rows("| 设置 | 默认值 | 单位 | 允许的值 | 作用 |", row)


def _ports(head: str, card: str) -> str:
    lines = [head, "|---|---|---|---|"]
    for row in DEFAULT_PORTS:
        card_name = card.format(row.card)
        lines.append(f"| {row.port} | {row.external_port} | {row.workspace_port} | {card_name} |")
    return "\n".join(lines)


def ports_english() -> str:
    """Render the default port table."""
    return _ports("| ComfyUI port | External port | Workspace port | Card |", "card {}")


def ports_chinese() -> str:
    """Render the default port table in Chinese."""
    return _ports("| ComfyUI端口 | 外部访问端口 | 工作区端口 | 加速卡 |", "卡{}")


def states_table() -> str:
    """Render every legal move, in the order of the code."""
    lines = ["| from | event | to |", "|---|---|---|"]
    lines += [f"| {a} | `{event}` | {b} |" for (a, event), b in states.TRANSITIONS.items()]
    return "\n".join(lines)


def states_diagram() -> str:
    """Render the same moves as a picture."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {states.State.IDLE}"]
    lines += [f"    {a} --> {b}: {event}" for (a, event), b in states.TRANSITIONS.items()]
    return "\n".join([*lines, "```"])


def states_buttons() -> str:
    """Render what a page offers in each state."""
    lines = ["| state | holds the port and card | buttons |", "|---|---|---|"]
    for state in states.State:
        holds = "yes" if state in states.HOLDS_PORT else "no"
        lines.append(f"| {state} | {holds} | {', '.join(states.actions(state)) or '-'} |")
    return "\n".join(lines)


def guarded_table() -> str:
    """Render what hostile code can do at each level, as ``tests/integration/test_hostile.py`` saw.

    An instance that runs as root, and one whose manager is not root, may differ in a cell.
    """
    words = json.loads((ROOT / "locales" / "en.json").read_text(encoding="utf-8"))
    columns = [
        (level, abi) for level in (DIRECTORIES, USER, SANDBOX) for abi in (0, LANDLOCK_SIGNALS)
    ]
    heads = [f"{level}{' + Landlock' if abi else ''}" for level, abi in columns]
    lines = ["| code in a ComfyUI tries to | " + " | ".join(heads) + " |"]
    lines.append("|---|" + ":-:|" * len(columns))
    for name in ATTEMPTS:
        cells = [_guarded_cell(name, level, abi) for level, abi in columns]
        lines.append(f"| {words[f'guarded.{name}']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _guarded_cell(name: str, level: str, abi: int) -> str:
    as_root = guarded(level, abi, root=True)[name]
    as_account = guarded(level, abi, root=False)[name] if level != USER else as_root
    if as_root == as_account:
        return "●" if as_root else "○"
    return "○ as root" if as_account else "● as root"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, tuple):
        return json.dumps(value)
    return f'"{value}"'


def example() -> str:
    """Render manager.toml.example: every setting with its default, commented out."""
    lines = [
        "# Copy this file to manager.toml and take the # off the lines you change.",
        "# The environment variable of the same name wins over the line here.",
        "# 复制为 manager.toml，去掉要修改的行前面的 #。同名环境变量优先。",
    ]
    for field in dataclasses.fields(settings.Settings):
        name = field.name.upper()
        if name == "PORTS":
            continue
        about = settings.describe(name)
        unit = f" Unit: {about['unit']}." if about["unit"] else ""
        lines += ["", f"# {about['help']}{unit}", f"# {CHINESE_HELP[name]}"]
        lines += [f"# Allowed: {about['allowed']}", f"#{name} = {_toml(field.default)}"]
    lines += ["", "# The port table, one row a card; it replaces the default table as a whole."]
    lines += [f"# {CHINESE_HELP['PORTS']}写了就整张替换默认的表。"]
    for row in DEFAULT_PORTS:
        lines += ["", "#[[PORTS]]"]
        given = dataclasses.asdict(row).items()
        lines += [f"#{name} = {value}" for name, value in given if value is not None]
    return "\n".join(lines) + "\n"


FILES: dict[str, Callable[[], str]] = {
    "manager.toml.example": example,
    "docs/openapi.json": render_api.description,
}

BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"ports": ports_english, "settings": settings_english},
    "README.zh-CN.md": {"ports": ports_chinese, "settings": settings_chinese},
    "docs/states.md": {
        "states": states_table,
        "diagram": states_diagram,
        "buttons": states_buttons,
    },
    "docs/security.md": {"guarded": guarded_table},
    "docs/api.md": {"api": render_api.routes_table, "codes": render_api.codes_list},
}


def render(text: str, blocks: dict[str, Callable[[], str]]) -> str:
    """Give ``text`` with its blocks as the code has them now.

    Raises:
        LookupError: the text lacks a block.
    """
    for name, block in blocks.items():
        pattern = re.compile(f"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        content = block()
        text, count = pattern.subn(lambda m, c=content: f"{m[1]}{c}\n{m[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise LookupError(f"block {name} stands {count} times")
    return text


def wanted() -> dict[str, str]:
    """Give every document as it ought to be, by its name."""
    texts = {
        name: render((ROOT / name).read_text(encoding="utf-8"), blocks)
        for name, blocks in BLOCKS.items()
    }
    return texts | {name: make() for name, make in FILES.items()}


def stale() -> dict[str, str]:
    """Give the documents that are not what they ought to be, with their new text."""
    return {
        name: text
        for name, text in wanted().items()
        if not (ROOT / name).exists() or (ROOT / name).read_text(encoding="utf-8") != text
    }


def main(argv: list[str]) -> int:
    """Rewrite, or with ``--check`` only compare."""
    found = stale()
    for name, text in found.items():
        sys.stdout.write(f"out of date: {name}\n")
        if "--check" not in argv:
            (ROOT / name).write_text(text, encoding="utf-8")
    return 1 if found and "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
