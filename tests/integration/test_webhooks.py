"""Messages on their way: the real sender, as the process it is, to a real receiver on loopback."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.alerts import Told
from manager.settings import load
from manager.web.i18n import translate
from manager.webhooks import delivery
from manager.webhooks.delivery import SENDER, Delivery, sending
from manager.webhooks.hooks import KINDS, Hook
from manager.webhooks.shapes import Message
from manager.webhooks.words import house, message
from tests.support.client import first_admin
from tests.support.ports import free_ports
from tests.support.receiver import Receiver
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

TAKEN = {
    "dingtalk": '{"errcode": 0, "errmsg": "ok"}',
    "wecom": '{"errcode": 0, "errmsg": "ok"}',
    "feishu": '{"code": 0, "msg": "success", "data": {}}',
    "slack": "ok",
    "generic": "",
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def a_message(hook: Hook, tmp_path: Path, subject: str = "") -> Message:
    where = house(load({"COMFYUI_PATH": str(tmp_path)}, root=tmp_path))
    now = time.time()
    numbers = {"port": 8001, "reason": "in use"}
    return message(
        translate, where, hook, Told("port_held_back", subject, False, now, now, numbers)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_arrives_as_its_receiver_wants_it(
    receiver: Receiver, tmp_path: Path, kind: str
) -> None:
    receiver.answer = TAKEN[kind]
    secret = "SEC" if kind in {"dingtalk", "feishu", "generic"} else ""
    hook = receiver.hook(kind, secret=secret, language="zh_CN")
    assert sending()(hook, a_message(hook, tmp_path)) == ""
    (heard,) = receiver.heard
    assert heard.method == "POST"
    assert heard.headers["Content-Type"].startswith("application/json")
    assert heard.query["access_token"] == "S3CRET"
    assert "端口 8001 已被保留" in heard.body.decode()
    told = heard.told
    if kind == "dingtalk":
        stamp = heard.query["timestamp"]
        wanted = hmac.new(b"SEC", f"{stamp}\nSEC".encode(), hashlib.sha256).digest()
        assert heard.query["sign"] == base64.b64encode(wanted).decode()
        assert abs(int(stamp) / 1000 - time.time()) < 3600
    elif kind == "feishu":
        wanted = hmac.new(f"{told['timestamp']}\nSEC".encode(), b"", hashlib.sha256).digest()
        assert told["sign"] == base64.b64encode(wanted).decode()
    elif kind == "generic":
        digest = hmac.new(b"SEC", heard.body, hashlib.sha256).hexdigest()
        assert heard.headers["X-Signature-256"] == f"sha256={digest}"


def test_what_the_receiver_does_wrong_is_a_word(receiver: Receiver, tmp_path: Path) -> None:
    hook = receiver.hook("dingtalk")
    told, send = a_message(hook, tmp_path), sending()
    receiver.answer = '{"errcode": 310000, "errmsg": "sign not match, S3CRET"}'
    assert send(hook, told) == "code 310000"
    receiver.status = 500
    assert send(hook, told) == "status 500"
    with Receiver(answer=TAKEN["dingtalk"]) as elsewhere:
        receiver.status, receiver.headers = 307, {"Location": elsewhere.url}
        assert send(hook, told) == "status 307"
        assert elsewhere.heard == []
    (port,) = free_ports(1)
    gone = Hook("x", "slack", f"http://127.0.0.1:{port}/S3CRET", "", "en", hook.events)
    assert send(gone, told) == "connect"
    unknown = Hook("x", "slack", "http://no-such-host.invalid/S3CRET", "", "en", hook.events)
    assert send(unknown, told) == "connect"
    plain = Hook("x", "slack", receiver.url.replace("http:", "https:"), "", "en", hook.events)
    assert send(plain, told) == "tls"


def test_a_receiver_that_drips_is_given_up_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then keeps each single wait short; the attempt ends all the same."""
    monkeypatch.setattr(delivery, "LIMIT_S", 4.0)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                with contextlib.suppress(OSError):
                    while not over.wait(0.2):
                        connection.sendall(b"X-Slow: 1\r\n")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/S3CRET"
        hook = Hook("x", "slack", url, "", "en", frozenset())
        assert sending()(hook, a_message(hook, tmp_path)) == "timeout"
        over.set()
        thread.join(30)


def test_proxies_of_the_environment_are_taken(receiver: Receiver, tmp_path: Path) -> None:
    given: dict[str, object] = {"url": "http://hooks.example/S3CRET", "body": "{}", "headers": {}}
    kept = {"PATH": os.environ["PATH"]}
    proxy = receiver.url.partition("/robot")[0]

    def say(**environ: str) -> str:
        done = subprocess.run(
            [sys.executable, "-I", str(SENDER)],
            input=json.dumps(given),
            env={**kept, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout + done.stderr

    assert json.loads(say(http_proxy=proxy))["status"] == 200
    assert receiver.heard[0].path == "http://hooks.example/S3CRET"
    # And whatever is given to it, the address is not what it says.
    given["headers"] = {"a": 7}
    given["url"] = "http://hooks.example:S3CRET/"
    assert "S3CRET" not in say(http_proxy=proxy)
    del given["body"]
    done = subprocess.run(
        [sys.executable, "-I", str(SENDER)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout + done.stderr == ""


def test_a_dead_receiver_holds_up_no_other_and_ends_with_the_manager(tmp_path: Path) -> None:
    with Receiver() as quick, Receiver(held=threading.Event()) as dead:
        both = [Delivery(quick.hook(), gap=0), Delivery(dead.hook(name="dead"), gap=0)]
        threads = [threading.Thread(target=one.run, daemon=True) for one in both]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        for number in range(5):
            for one in both:
                one.offer(a_message(one.hook, tmp_path, str(number)))
        offered = time.monotonic() - began
        wait_until(lambda: len(quick.heard) == 5, 60, "the quick one has heard all")
        assert [one.told["subject"] for one in quick.heard] == list("01234")
        wait_until(lambda: dead.heard, 60, "the other one was asked")
        assert both[1].waiting == 4
        # Sending takes a process and a connection each; offering takes neither.
        assert offered < 5
        for one in both:
            one.end()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


def write_hooks(manager: ManagerProcess, *tables: str) -> None:
    path = manager.folder / "webhooks.toml"
    path.write_text("\n".join(f"[[hook]]\n{table}" for table in tables), encoding="utf-8")
    path.chmod(0o600)


def test_a_house_tells_of_its_crash_and_nothing_shows_the_address(
    receiver: Receiver, tmp_path: Path
) -> None:
    manager = ManagerProcess(tmp_path / "house", rows=1)
    with Receiver(status=500) as broken:
        write_hooks(
            manager,
            f'name = "ops"\nkind = "generic"\nurl = "{receiver.url}"',
            f'name = "broken"\nkind = "slack"\nurl = "{broken.url}"',
        )
        with manager:
            assert receiver.heard == []
            wait_until((manager.data_dir / "manager.json").exists, 60, "it has begun its work")
            manager.kill()
            manager.start()
            wait_until(lambda: receiver.heard, 60, "the crash is told")
            assert receiver.heard[0].told["event"] == "unclean_end"
            with first_admin(manager) as admin:
                failing = wait_until(
                    lambda: admin.get("/api/admin/overview")["webhooks"], 60, "the other one fails"
                )
                assert [(one["name"], one["problem"]) for one in failing] == [
                    ("broken", "status 500")
                ]
                for path in ("/admin", "/settings", "/api/admin/overview"):
                    assert "S3CRET" not in admin.ask("GET", path).text
                assert "Webhook broken (slack)" in admin.ask("GET", "/admin").text
            told = manager.run("doctor", "--json", "--exit-zero").stdout
            cases = [(one["check"], one["case"]) for one in json.loads(told)["findings"]]
            assert ("webhooks", "failing") in cases
            test = manager.run("notify-test")
            assert test.returncode == 1
            assert test.stdout.splitlines() == [
                "ops (generic): taken",
                "broken (slack): not taken: status 500",
            ]
            assert receiver.heard[-1].told["event"] == "test"
            assert manager.run("notify-test", "ops").returncode == 0
            kept = (manager.data_dir / "alerts.json").read_text(encoding="utf-8")
            for text in (told, test.stdout, test.stderr, kept):
                assert "S3CRET" not in text
            # An end as it should be is nothing to tell.
            before = len(receiver.heard)
            assert manager.run("stop", "--keep-instances").returncode == 0
            manager.start()
            assert manager.run("notify-test", "ops").returncode == 0
            heard = [one.told["event"] for one in receiver.heard[before:]]
            assert heard == ["test"]
        log = manager.log_path.read_text(encoding="utf-8")
        assert "webhook broken (slack): not delivered: status 500" in log
        assert "S3CRET" not in log + manager.output_path.read_text(encoding="utf-8")


def test_a_file_that_cannot_be_used_is_refused_before_a_start(tmp_path: Path) -> None:
    manager = ManagerProcess(tmp_path / "house", rows=1)
    write_hooks(manager, 'kind = "irc"\nurl = "http://x/S3CRET"')
    for command in ("check", "notify-test"):
        done = manager.run(command)
        assert done.returncode == 2
        assert "kind is one of" in done.stderr
        assert "S3CRET" not in done.stdout + done.stderr
