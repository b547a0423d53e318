"""Who is told, what each kind is sent, and how often it is tried; nothing is sent here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from manager import settings as settings_room
from manager.alerts import EVENTS, Told
from manager.errors import SettingsError
from manager.settings import Settings
from manager.web.i18n import LANGUAGES, catalogue, translate
from manager.webhooks import hooks, record
from manager.webhooks.delivery import MOST_WAITING, Delivery, Failing
from manager.webhooks.hooks import KINDS, Hook
from manager.webhooks.shapes import Message, parcel, refusal
from manager.webhooks.words import house, message

SECRET_URL = "https://hooks.example/services/T0/B0?token=S3CRET"
NOW = 1_790_000_000.5
HOSTILE = '<!channel> <@all> <at user_id="all"></at> [a](http://evil)\nnext'


def settings(folder: Path, text: str | None = None, mode: int = 0o600, **environ: str) -> Settings:
    path = folder / "webhooks.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
    return settings_room.load({"COMFYUI_PATH": str(folder), **environ}, root=folder)


def a_hook(kind: str, secret: str = "", language: str = "en") -> Hook:
    return Hook("ops", kind, SECRET_URL, secret, language, frozenset(EVENTS))


def a_message(event: str = "gate_down", language: str = "en", **changes: object) -> Message:
    values = {
        "event": event,
        "over": False,
        "at": NOW,
        "since": NOW - 60,
        "subject": "",
        "numbers": {"free_gib": 3},
        "host": "gpu-1",
        "what": "[gpu-1] Something is wrong.",
        "do": "Do something.",
        "link": "http://gpu-1:8880/admin",
        "place": "Open the admins' page",
        **changes,
    }
    return Message(**values)  # type: ignore[arg-type]


def test_the_file_as_it_is_meant(tmp_path: Path) -> None:
    built = settings(
        tmp_path,
        f"""
        [[hook]]
        kind = "dingtalk"
        url = "{SECRET_URL}"
        secret = "SEC123"
        name = "night-shift"
        language = "zh_CN"
        events = ["gate_down", "disk_low"]
        [[hook]]
        kind = "slack"
        url = "{SECRET_URL}"
        """,
        ALERT_EVENTS="disk_low",
    )
    night, slack = hooks.read(built)
    assert (night.name, night.kind, night.language) == ("night-shift", "dingtalk", "zh_CN")
    assert night.events == {"gate_down", "disk_low"}
    assert (slack.name, slack.language) == ("slack-2", "en")
    assert slack.events == {"disk_low"}
    assert "S3CRET" not in repr(night)
    assert "SEC123" not in repr(night)


def test_no_file_is_nobody(tmp_path: Path) -> None:
    assert hooks.read(settings(tmp_path)) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[hook]]\nkind = "irc"\nurl = "{url}"', "kind is one of"),
        ('[[hook]]\nkind = "slack"\nurl = "ftp://S3CRET"', "url is an address"),
        ('[[hook]]\nkind = "slack"\nurl = "http://[S3CRET"', "url is an address"),
        ('[[hook]]\nkind = "slack"', "url is an address"),
        ('[[hook]]\nkind = "wecom"\nurl = "{url}"\nsecret = "S3CRET"', "has no secret"),
        ('[[hook]]\nkind = "slack"\nurl = "{url}"\nevents = ["S3CRET"]', "events is a list of"),
        ('[[hook]]\nkind = "slack"\nurl = "{url}"\nevents = "disk_low"', "events is a list of"),
        ('[[hook]]\nkind = "slack"\nurl = "{url}"\nlanguage = "S3CRET"', "language is one of"),
        ('[[hook]]\nkind = "slack"\nurl = "{url}"\nname = "S3 CRET"', "name is letters"),
        ('[[hook]]\nkind = "slack"\nurl = "{url}"\ntoken = "S3CRET"', "known are"),
        ('[[hook]]\nkind = "slack"\nurl = 7', "each is a text"),
        ('hook = "S3CRET"', "holds [[hook]]"),
        ("S3CRET", "not valid TOML"),
        ('[[hook]]\nkind = "slack"\nurl = "{url}"\nname = "a"\n' * 2, "same name"),
    ],
)
def test_what_is_wrong_is_said_without_a_value(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        hooks.read(settings(tmp_path, text.replace("{url}", SECRET_URL)))
    assert said in refusal.value.message
    assert "S3" not in refusal.value.message


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SettingsError, match="chmod 600"):
        hooks.read(settings(tmp_path, "", mode))


def test_dingtalk_is_sent_markdown_and_signed_in_its_address() -> None:
    made = parcel(a_hook("dingtalk", "SEC123"), a_message(), NOW)
    told = json.loads(made.body)
    assert told["msgtype"] == "markdown"
    assert told["markdown"]["title"].startswith("［gpu-1］ Something")
    assert "[Open the admins' page](http://gpu-1:8880/admin)" in told["markdown"]["text"]
    query = {name: one for name, (one,) in parse_qs(urlsplit(made.url).query).items()}
    stamp = str(round(NOW * 1000))
    wanted = hmac.new(b"SEC123", f"{stamp}\nSEC123".encode(), hashlib.sha256).digest()
    assert query == {
        "token": "S3CRET",
        "timestamp": stamp,
        "sign": base64.b64encode(wanted).decode(),
    }
    assert parcel(a_hook("dingtalk"), a_message(), NOW).url == SECRET_URL


def test_wecom_is_sent_markdown() -> None:
    told = json.loads(parcel(a_hook("wecom"), a_message(), NOW).body)
    assert set(told) == {"msgtype", "markdown"}
    assert told["msgtype"] == "markdown"
    assert "Do something." in told["markdown"]["content"]
    long = a_message(what="卡" * 5000, do="卡" * 5000)
    # Three bytes each: what is longer than 4096 bytes WeCom refuses.
    content = json.loads(parcel(a_hook("wecom"), long, NOW).body)["markdown"]["content"]
    assert len(content.encode()) <= 4096


def test_feishu_is_sent_text_and_signed_in_its_body() -> None:
    told = json.loads(parcel(a_hook("feishu", "s"), a_message(), NOW).body)
    assert told["msg_type"] == "text"
    assert told["content"]["text"].splitlines() == [
        "[gpu-1] Something is wrong.",
        "Do something.",
        "http://gpu-1:8880/admin",
    ]
    stamp = str(int(NOW))
    wanted = hmac.new(f"{stamp}\ns".encode(), b"", hashlib.sha256).digest()
    assert (told["timestamp"], told["sign"]) == (stamp, base64.b64encode(wanted).decode())


def test_slack_is_sent_text() -> None:
    told = json.loads(parcel(a_hook("slack"), a_message(what="a & b"), NOW).body)
    assert told == {"text": "a &amp; b\nDo something.\nhttp://gpu-1:8880/admin"}


def test_programs_are_sent_the_numbers_and_a_signature() -> None:
    made = parcel(a_hook("generic", "s"), a_message(), NOW)
    told = json.loads(made.body)
    assert (told["event"], told["over"], told["at"], told["numbers"]) == (
        *("gate_down", False, NOW),
        {"free_gib": 3},
    )
    wanted = hmac.new(b"s", made.body.encode(), hashlib.sha256).hexdigest()
    assert made.headers["X-Signature-256"] == f"sha256={wanted}"


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"generic"}))
def test_names_that_others_chose_call_nobody_and_lead_nowhere(kind: str) -> None:
    body = parcel(a_hook(kind), a_message(what=HOSTILE), NOW).body
    for mark in ("<!", "<@", "<at", "[a](http://evil)"):
        assert mark not in body or (mark == "[a](http://evil)" and kind in {"slack", "feishu"})
    assert "evil)\\nnext" not in body


@pytest.mark.parametrize(
    ("kind", "answer", "wanted"),
    [
        ("dingtalk", '{"errcode": 0, "errmsg": "ok"}', ""),
        ("dingtalk", '{"errcode": 310000, "errmsg": "S3CRET"}', "code 310000"),
        ("wecom", '{"errcode": 93000, "errmsg": "invalid webhook url"}', "code 93000"),
        ("feishu", '{"code": 0, "msg": "success"}', ""),
        ("feishu", '{"StatusCode": 0, "StatusMessage": "success"}', ""),
        ("feishu", '{"code": 19021, "msg": "sign match fail"}', "code 19021"),
        ("feishu", "<html>S3CRET", "answer"),
        ("dingtalk", "[]", "answer"),
        ("dingtalk", '{"errcode": "S3CRET"}', "answer"),
        ("slack", "ok", ""),
        ("generic", "", ""),
    ],
)
def test_a_refusal_in_a_200(kind: str, answer: str, wanted: str) -> None:
    assert refusal(kind, answer) == wanted


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_event_has_its_words(tmp_path: Path, language: str) -> None:
    numbers = {
        *("ports", "minutes", "waiting", "port", "reason", "count", "free_gib", "days"),
    }
    given = dict.fromkeys(sorted(numbers), 7)
    where = house(settings(tmp_path, EXTERNAL_IP="192.0.2.9", COOKIE_SECURE="true"))
    assert where.link == "https://192.0.2.9:8880/admin"
    for event in EVENTS:
        for over in (False, True):
            told = Told(event, "ann", over, NOW, NOW, given)
            made = message(translate, where, a_hook("slack", language=language), told)
            assert where.host in made.what
            assert "{" not in made.what + made.do
            assert "alert." not in made.what + made.do
            assert bool(made.do) is not over
        assert f"alert.{event}.do" in catalogue(language)


class Sends:
    """Takes the place of the sender."""

    def __init__(self, *problems: str) -> None:
        self.problems = list(problems)
        self.sent: list[Message] = []

    def __call__(self, _hook: Hook, told: Message) -> str:
        self.sent.append(told)
        return self.problems.pop(0) if self.problems else ""


def test_it_is_tried_so_often_and_its_failing_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "manager.webhooks")
    sends = Sends(*["status 500"] * 5, "timeout", "")
    one = Delivery(a_hook("slack"), sends, pauses=(0, 0, 0), clock=lambda: NOW)
    noted: list[Failing | None] = []
    one.changed = lambda: noted.append(one.failing)
    assert one.deliver(a_message()) == "status 500"
    assert len(sends.sent) == 4
    assert noted == [Failing("ops", "slack", NOW, "status 500")]
    assert one.deliver(a_message()) == ""
    # Since when stays, whatever the reason is by now.
    assert noted[1:] == [Failing("ops", "slack", NOW, "timeout"), None]
    assert [line.levelname for line in caplog.records] == ["WARNING", "WARNING", "INFO"]
    assert "S3CRET" not in caplog.text


def test_a_flood_waits_in_bounds_and_only_what_is_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sends = Sends()
    one = Delivery(a_hook("slack"), sends)
    for number in range(3 * MOST_WAITING):
        one.offer(a_message(subject=str(number)))
        one.offer(a_message("not_wanted"))
    assert one.waiting == MOST_WAITING
    assert sends.sent == []
    assert "S3CRET" not in caplog.text


def test_what_is_kept_for_the_next_manager_has_no_address(tmp_path: Path) -> None:
    path = tmp_path / "alerts.json"
    assert record.load(path) == ([], [])
    active = [Told("gate_down", "", False, NOW, NOW, {"a": 1})]
    failing = [Failing("ops", "slack", NOW, "timeout")]
    record.save(path, active, failing)
    assert record.load(path) == (active, failing)
    path.write_text("{", encoding="utf-8")
    assert record.load(path) == ([], [])
