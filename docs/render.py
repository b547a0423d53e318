"""Write the parts of the documents that repeat the code, from the code.

    venv/bin/python docs/render.py          rewrite the blocks in place
    venv/bin/python docs/render.py --check  only say which documents are out of date (exit 1)

A block stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. Nothing outside of blocks
is touched; a setting or state without its Chinese text is an error, so it cannot be forgotten.
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

from manager import settings, states  # noqa: E402 - the line above finds them
from manager.launcher.guarded import ATTEMPTS, LANDLOCK_SIGNALS, guarded  # noqa: E402
from manager.launcher.isolation import DIRECTORIES, SANDBOX, USER  # noqa: E402
from manager.ports import DEFAULT_PORTS  # noqa: E402

CHINESE_HELP = {
    "EXTERNAL_IP": "写入工作区链接的地址。留空则使用访问者浏览器里的主机名。",
    "COMFYUI_PATH": "ComfyUI 的 main.py 所在目录。目录里没有 main.py 时由演示程序代替。",
    "COMFYUI_PYTHON": "运行 ComfyUI 的 Python。留空则用 COMFYUI_PATH 里的 venv 或 .venv，"
    "再没有就用 python3。",
    "COMFYUI_ARGS": "每个 ComfyUI 附加的命令行参数。",
    "MANAGER_HOST": "管理界面监听的地址。",
    "MANAGER_PORT": "管理界面端口。",
    "GATE_HOST": "工作区端口和外部访问端口监听的地址。",
    "IDLE_TIMEOUT": "没有任务多久之后结束实例。",
    "QUEUE_CHECK_INTERVAL": "两次检查实例队列之间的间隔。",
    "MAX_WORKERS": "同时进行的队列检查数。",
    "START_TIMEOUT": "ComfyUI 启动后最迟多久必须应答。",
    "STOP_TIMEOUT": "给 ComfyUI 正常退出的时间，过后强制结束。",
    "HANG_TIMEOUT": "运行中的 ComfyUI 多久不应答即显示为失去响应。0：不判断。",
    "HANG_ACTION": "失去响应且进程毫无动作时怎么办；仍在忙碌的不会被动。"
    "show：只显示，restart：重启，stop：停止。",
    "RESTART_POLICY": "崩溃的 ComfyUI 是否自动重新启动（30 分钟内最多 3 次）。"
    "never：不启动，on-crash：启动。",
    "QUARANTINE_AFTER": "实例结束后端口或加速卡仍被占用多久，就保留该端口等管理员处理。",
    "ISOLATION": "各用户的 ComfyUI 如何互相隔离。auto：此处可用的最高级别，昇腾上最高为 user；"
    "指定其他级别而不可用时拒绝启动。",
    "LANDLOCK": "内核支持 Landlock 时自动加到每一级隔离上。驱动与它不合时设为 off。",
    "ISOLATION_UID_BASE": "以 root 运行且隔离级别为 user 或 sandbox 时，用户 n 使用的账号编号为"
    "此值加 n。",
    "SHARED_READABLE": "每个 ComfyUI 另外可读的目录，例如放在 /home 或 /root 下的模型。",
    "SHARED_WRITABLE": "除用户自己的目录外，每个 ComfyUI 可写的目录。",
    "INSTANCE_MEMORY_MAX": "一个实例最多占用的内存。0：不限制。",
    "INSTANCE_PROCESSES_MAX": "一个实例最多的进程和线程数。0：不限制。",
    "INSTANCE_OPEN_FILES": "一个进程最多打开的文件数。0：与管理器相同。",
    "INSTANCE_NICE": "实例对其他程序让出处理器的程度。",
    "INSTANCE_OOM_SCORE_ADJ": "内存耗尽时，实例比其他程序先被结束的程度。",
    "CARD_KIND": "加速卡的种类。auto：依次找 npu-smi、nvidia-smi、rocm-smi，都没有则为 cpu。",
    "CARD_SAMPLE_INTERVAL": "两次用驱动工具查看加速卡之间的间隔；机器繁忙时延长到四倍。",
    "CARD_TOOL_TIMEOUT": "驱动工具查看一次最多用多久；超时则视为状态未知。",
    "CADDY_PATH": "Caddy 程序。留空则用随依赖安装的那个。",
    "CADDYFILE": "由管理器改写其中受管区块的 Caddyfile。",
    "DATABASE_PATH": "SQLite 数据库文件。",
    "DATABASE_POOL_SIZE": "读连接数。",
    "LOG_PATH": "管理器的日志文件。",
    "DATA_DIR": "存放工作区、实例日志、Caddy 状态和密钥的目录。",
    "INSTANCE_LOG_MAX_BYTES": "实例日志达到多大时轮转。",
    "SESSION_HOURS": "一次登录的有效时间。",
    "COOKIE_SECURE": "管理界面和工作区前面有 HTTPS：链接用 https，Cookie 带 Secure。",
    "ASYNC_MODE": "服务器的线程方式。",
    "PORTS": "端口表，一行一张卡。",
}

CHINESE_UNITS = {"": "", "s": "秒", "h": "小时", "bytes": "字节", "MiB": "MiB"}

CHINESE_ALLOWED = (
    (r"a whole number from (\S+) to (\S+)", r"\1 到 \2 的整数"),
    (r"a number from (\S+) to (\S+)", r"\1 到 \2 的数"),
    (r"an IP address or host name, or empty", "IP 地址、主机名，或留空"),
    (r"an IP address or host name", "IP 地址或主机名"),
    (r"a path, absolute or from the project's folder", "路径，绝对的或相对项目目录的"),
    (
        r"a list of words, or one line quoted as in a shell; none that the manager itself sets",
        "词的列表，或按 shell 规则加引号的一行；不能是管理器自己设置的参数",
    ),
    (r"a list of paths, or paths with : between them", "路径的列表，或用 : 分隔的路径"),
    (r"one line of text", "一行文字"),
    (r"rows of (.*)", r"由 \1 组成的行"),
    (r"([\w-]+(?: \| [\w-]+)+)", r"\1"),
)


def _default(value: object, empty: str, ports: str) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in ("", ()):
        return empty
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


def chinese_allowed(text: str) -> str:
    """Translate what a kind of setting says it allows.

    Raises:
        LookupError: a kind has a new sentence.
    """
    for pattern, chinese in CHINESE_ALLOWED:
        if re.fullmatch(pattern, text):
            return re.sub(pattern, chinese, text)
    raise LookupError(f"docs/render.py has no Chinese for {text!r}")


def settings_chinese() -> str:
    """Render the table of settings in Chinese."""

    def row(name: str, default: object) -> list[str]:
        about = settings.describe(name)
        shown = _default(default, "*空*", "上面的端口表")
        unit = CHINESE_UNITS[about["unit"]]
        return [f"`{name}`", shown, unit, chinese_allowed(about["allowed"]), CHINESE_HELP[name]]

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
        return "[]"
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
        lines += [f"#{name} = {value}" for name, value in dataclasses.asdict(row).items()]
    return "\n".join(lines) + "\n"


FILES: dict[str, Callable[[], str]] = {"manager.toml.example": example}

BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"ports": ports_english, "settings": settings_english},
    "README.zh-CN.md": {"ports": ports_chinese, "settings": settings_chinese},
    "docs/states.md": {
        "states": states_table,
        "diagram": states_diagram,
        "buttons": states_buttons,
    },
    "docs/security.md": {"guarded": guarded_table},
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
