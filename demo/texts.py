"""What the demo's page says, in both languages."""

from __future__ import annotations

from pathlib import Path

HOME = Path(__file__).resolve().parent

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "title": "Demo workspace",
        "banner": "Demo — this is not ComfyUI",
        "banner_more": "No ComfyUI was found on this server, so this page stands in for it. "
        "It draws colour fields; no AI is at work. "
        "COMFYUI_PATH in manager.toml names the real one.",
        "how": "Use the real ComfyUI",
        "how_1": "Install ComfyUI on the server.",
        "how_2": "Name its folder in manager.toml:",
        "how_3": "Stop this workspace, run ./start_manager.sh restart, and start it again.",
        "prompt": "Describe a picture",
        "placeholder": "a lighthouse at dawn, oil painting",
        "generate": "Generate",
        "interrupt": "Stop",
        "queue": "Queue",
        "idle": "Ready",
        "waiting": "Waiting in the queue",
        "working": "Painting",
        "done": "Done",
        "failed": "Failed",
        "interrupted": "Stopped",
        "refused": "The prompt was refused",
        "offline": "No connection. Trying again…",
        "online": "Connected",
        "results": "Results",
        "empty": "Pictures you generate appear here. They are kept in your output folder.",
        "open": "Open picture",
    },
    "zh": {
        "title": "演示工作区",
        "banner": "演示 — 这不是 ComfyUI",
        "banner_more": "服务器上没有找到 ComfyUI，所以由本页面代替。"
        "它只绘制色彩渐变，没有使用 AI。请在 manager.toml 中设置 COMFYUI_PATH。",
        "how": "使用真正的 ComfyUI",
        "how_1": "在服务器上安装 ComfyUI。",
        "how_2": "在 manager.toml 中填写它的目录：",
        "how_3": "停止本工作区，运行 ./start_manager.sh restart，再重新启动。",
        "prompt": "描述一幅画",
        "placeholder": "黎明的灯塔，油画",
        "generate": "生成",
        "interrupt": "停止",
        "queue": "队列",
        "idle": "就绪",
        "waiting": "排队中",
        "working": "绘制中",
        "done": "完成",
        "failed": "失败",
        "interrupted": "已停止",
        "refused": "提示词被拒绝",
        "offline": "连接已断开，正在重试…",
        "online": "已连接",
        "results": "结果",
        "empty": "生成的图片会显示在这里，并保存在你的 output 目录中。",
        "open": "打开图片",
    },
}
"""Both languages have the same keys."""


def choose(wanted: str | None) -> str:
    """Give a language there is."""
    return wanted if wanted in TEXTS else "en"
