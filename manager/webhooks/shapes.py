"""What each kind of receiver wants to be sent, and how it says that it took it. Pure.

Checked against the vendors' documents:

- DingTalk: https://open.dingtalk.com/document/orgapp/custom-robots-send-group-messages and
  https://open.dingtalk.com/document/robots/customize-robot-security-settings
- WeCom: https://developer.work.weixin.qq.com/document/path/91770
- Feishu: https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
- Slack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and, for what
  must be escaped, https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from manager.webhooks.hooks import Hook

Body = dict[str, Any]

MOST_LETTERS = 600
"""Of each of two lines; WeCom takes 4096 bytes in all, and a Chinese letter has three."""

SIGNATURE_HEADER = "X-Signature-256"


@dataclass(frozen=True)
class Message:
    """One message, in the language of its receiver.

    ``what`` happened, what to ``do``, and ``link`` to where it is done, called ``place``. The rest
    is for programs; ``at`` and ``since`` in UTC epoch seconds.
    """

    event: str
    over: bool
    at: float
    since: float
    subject: str
    numbers: Mapping[str, object]
    host: str
    what: str
    do: str
    link: str
    place: str


@dataclass(frozen=True)
class Parcel:
    """What is sent, and where; the address may hold a signature that is good for an hour."""

    url: str = field(repr=False)
    body: str
    headers: Mapping[str, str]


def parcel(hook: Hook, message: Message, now: float) -> Parcel:
    """Make what is sent to a hook ``now`` (UTC epoch seconds), signed where it has a secret."""
    url, headers = hook.url, {"Content-Type": "application/json; charset=utf-8"}
    body = _BODIES[hook.kind](message)
    if hook.secret and hook.kind == "dingtalk":
        url = _signed_by_dingtalk(hook, now)
    if hook.secret and hook.kind == "feishu":
        stamp = str(int(now))
        # Here the text is the key, and what is signed is empty.
        body |= {"timestamp": stamp, "sign": _signature(f"{stamp}\n{hook.secret}", b"")}
    text = json.dumps(body, ensure_ascii=False)
    if hook.secret and hook.kind == "generic":
        digest = hmac.new(hook.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        headers[SIGNATURE_HEADER] = f"sha256={digest}"
    return Parcel(url, text, headers)


def refusal(kind: str, answer: str) -> str:
    """Say by what a receiver that answered with 200 refused; empty when it took the message.

    The Chinese three answer 200 to everything and say in the body how it went. Nothing but their
    number is handed on: their words may repeat what was sent.
    """
    names = {"dingtalk": ("errcode",), "wecom": ("errcode",), "feishu": ("code", "StatusCode")}
    if kind not in names:
        return ""
    try:
        told = json.loads(answer)
        code = next(told[name] for name in names[kind] if name in told)
    except (ValueError, TypeError, StopIteration):
        return "answer"
    if code == 0:
        return ""
    return f"code {code}" if isinstance(code, int) else "answer"


def _signed_by_dingtalk(hook: Hook, now: float) -> str:
    stamp = str(round(now * 1000))  # milliseconds
    sign = _signature(hook.secret, f"{stamp}\n{hook.secret}".encode())
    more = urlencode({"timestamp": stamp, "sign": sign})
    return f"{hook.url}{'&' if '?' in hook.url else '?'}{more}"


def _signature(key: str, text: bytes) -> str:
    return base64.b64encode(hmac.new(key.encode(), text, hashlib.sha256).digest()).decode()


_NO_MARKUP = str.maketrans("<>[]`*", "‹›［］'·", "\r\n")
_NO_TAGS = str.maketrans("<>", "‹›", "\r\n")


def _markdown(message: Message) -> str:
    """Write it as Markdown. Names in it must neither call people (WeCom's ``<@…>``) nor link."""
    what, do = (text.translate(_NO_MARKUP)[:MOST_LETTERS] for text in (message.what, message.do))
    return f"**{what}**\n\n{do}\n\n[{message.place}]({message.link})"


def _lines(message: Message, clean: Callable[[str], str]) -> str:
    what, do = (clean(text)[:MOST_LETTERS] for text in (message.what, message.do))
    return "\n".join(line for line in (what, do, message.link) if line)


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def _without_tags(text: str) -> str:
    # Feishu takes <at user_id="all"> for a call to everybody.
    return text.translate(_NO_TAGS)


def _dingtalk(message: Message) -> Body:
    title = message.what.translate(_NO_MARKUP)[:64]
    return {"msgtype": "markdown", "markdown": {"title": title, "text": _markdown(message)}}


def _wecom(message: Message) -> Body:
    return {"msgtype": "markdown", "markdown": {"content": _markdown(message)}}


def _feishu(message: Message) -> Body:
    return {"msg_type": "text", "content": {"text": _lines(message, _without_tags)}}


def _slack(message: Message) -> Body:
    return {"text": _lines(message, _for_slack)}


def _generic(message: Message) -> Body:
    return {
        "event": message.event,
        "over": message.over,
        "at": message.at,
        "since": message.since,
        "subject": message.subject,
        "numbers": dict(message.numbers),
        "host": message.host,
        "text": message.what,
        "do": message.do,
        "link": message.link,
    }


_BODIES: Mapping[str, Callable[[Message], Body]] = {
    "generic": _generic,
    "slack": _slack,
    "dingtalk": _dingtalk,
    "wecom": _wecom,
    "feishu": _feishu,
}
