"""A house whose API is asked whatever its description allows, and what it does not.

Store, accounts, tokens and lifecycle are real; launcher, gate and ComfyUI are stand-ins, so that
no process is started. What an admin's request takes away (accounts, rights, tokens, logins) is put
back before the next one.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import schemathesis
from flask import Flask, session
from flask_wtf.csrf import generate_csrf  # type: ignore[import-untyped]
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from manager import cards, credentials
from manager.accounts import Accounts
from manager.announcements import Announcements
from manager.api_tokens import ApiTokens
from manager.audit import AuditTrail
from manager.card_history import CardHistory
from manager.cluster import Cluster
from manager.disk import DiskUses
from manager.errors import Refused
from manager.measures import Measures
from manager.records import User
from manager.states import State
from manager.store import Tables
from manager.web import openapi
from manager.web.app import COOKIE_NAME, create_app
from manager.web.contract import contract_of
from manager.web.doctor import EXTENSION as DOCTOR
from manager.web.guard import SAFE_METHODS
from tests.support.house import House
from tests.support.stand_ins import IDLE
from tests.support.web import Care, Fixed, Follower, Health, Load, Still

ORIGIN = "http://localhost"
PICTURE = "a picture.png"
EVER = 4_000_000_000.0
MOST_USERS = 40

PEOPLE = {"ann": False, "zoe": False, "root": True, "boss": True}
"""Who is an admin. Zoe's ComfyUI runs, and nobody but admins may hear of her."""


@dataclass(frozen=True)
class Visitor:
    """Who asks: nobody, somebody by his cookie, or by a token of a scope."""

    name: str
    username: str = ""
    scope: str = ""

    @property
    def is_admin(self) -> bool:
        """Whether he may do what admins may."""
        return self.username == "root" and self.scope in {"", "admin"}

    def may(self, method: str, path: str, by_token: bool) -> bool:
        """Tell whether a request of his may be answered with anything but a refusal."""
        if not self.username or (path.startswith("/api/admin/") and not self.is_admin):
            return False
        if self.scope and not by_token:
            return False
        return method in SAFE_METHODS or self.scope != "read"


VISITORS = (
    Visitor("nobody"),
    Visitor("user", "ann"),
    Visitor("admin", "root"),
    Visitor("token read", "ann", "read"),
    Visitor("token use", "ann", "use"),
    Visitor("token admin", "root", "admin"),
)


class World:
    """The house, its application, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.house = house = House(folder)
        settings, store = house.settings, house.store
        self.accounts = Accounts(settings, store, house.clock)
        self.tokens = ApiTokens(
            settings, store, b"k" * 32, self.accounts.wrong_token, house.clock, house.monotonic
        )
        rooms = SimpleNamespace(
            settings=settings,
            accounts=self.accounts,
            api_tokens=self.tokens,
            lifecycle=house.lifecycle,
            watch=house.watch,
            follower=Follower(),
            load=Fixed(Load()),
            gate=Fixed(Health()),
            cards=cards.cards(settings),
            cluster=Cluster(settings.ports, settings.card_kind, None),
            sampler=house.sampler,
            card_history=CardHistory(store),
            announcements=Announcements(store, house.clock),
            audit=AuditTrail(store),
            disk=DiskUses(settings, store),
            care=Care(),
            secret_key=b"k" * 32,
            measures=Measures(),
            metrics_token="m" * 64,
            on_change=lambda callback: None,
        )
        self.app: Flask = create_app(cast("Any", rooms))
        self.app.extensions[DOCTOR] = Still()
        self.schema = schemathesis.openapi.from_dict(openapi.document(self.app))
        self.schema.app = self.app
        # Who asks is ours to say.
        self.schema.config.generation.update(with_security_parameters=False)
        self.asked: Counter[str] = Counter()
        self.answered: Counter[int] = Counter()
        self.users: dict[str, User] = {}
        self._token = {one: f"cmm_{number:043}" for number, one in enumerate(VISITORS)}
        self._sent = {one: self._sends(one) for one in VISITORS}
        self._closed = {
            (method, openapi.path_of(rule))
            for rule, method, view in openapi.routes(self.app)
            if (told := contract_of(view)) is None or not told.by_token
        }

    def operations(self) -> Iterator[Any]:
        """List everything that is described."""
        for found in self.schema.get_all_operations():
            yield cast("Any", found).ok()

    def ask(self, case: Any, visitor: Visitor, method: str, path: str) -> TestResponse:
        """Send one request and check what may be told of any answer."""
        self.mend()
        headers, cookies = self._sent[visitor]
        headers |= {"Accept-Encoding": "identity"}
        answer = case.call(headers=headers, cookies=cookies)
        self.asked[visitor.name] += 1
        self.answered[answer.status_code] += 1
        self._check(answer, visitor, method, path)
        if self.asked.total() % 2:
            self.goes_on()
        return cast("TestResponse", answer)

    def _check(self, answer: Any, visitor: Visitor, method: str, path: str) -> None:
        text = answer.content.decode("utf-8", "replace")
        what = f"{visitor.name}: {method} {path}: {answer.status_code} {text[:300]}"
        if not visitor.may(method, path, (method, path) not in self._closed):
            # 400: what cannot be sent at all is refused by the server in front of us.
            assert answer.status_code in {400, 401, 403, 404, 405}, what
        if visitor.username and answer.status_code == 401:
            assert "wrong_password" in text, what
        for secret in (*self._hidden(visitor), *(() if visitor.is_admin else ("zoe",))):
            assert secret not in text, what

    def _hidden(self, visitor: Visitor) -> Iterator[str]:
        """List what no answer to somebody may hold: a link is its owner's alone."""
        for row in self.house.lifecycle.instances():
            yield from filter(None, (row.secret, row.username != visitor.username and row.token))
        yield from (*self._token.values(), "sid of ", "pbkdf2:", "scrypt:")

    def _sends(self, visitor: Visitor) -> tuple[dict[str, str], dict[str, str]]:
        """Give the headers and cookies of somebody."""
        if visitor.scope:
            return {"Authorization": f"Bearer {self._token[visitor]}"}, {}
        with self.app.test_request_context():
            if visitor.username:
                session["sid"] = f"sid of {visitor.username}"
            csrf = generate_csrf()
            interface = cast("Any", self.app.session_interface)
            cookie = interface.get_signing_serializer(self.app).dumps(dict(session))
        return {"Origin": ORIGIN, "X-CSRFToken": csrf}, {COOKIE_NAME: cookie}

    def mend(self) -> None:
        """Put back what requests took away."""
        self.users = self.house.store.write(self._mend)
        if self.house.lifecycle.of_user(self.users["zoe"].id) is None:
            self._run(self.users["zoe"])
        folder = self.house.settings.data_dir / "workspaces" / "1-ann" / "output"
        if not (folder / PICTURE).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / PICTURE).write_bytes(picture())

    def _mend(self, t: Tables) -> dict[str, User]:
        for name, is_admin in PEOPLE.items():
            user = t.users.by_name(name)
            if user is None:
                t.users.insert(
                    name, "", is_admin=is_admin, assigned_port=None, must_change_password=False
                )
            elif (user.is_admin, user.is_active, user.must_change_password) != (
                *(is_admin, True),
                False,
            ):
                t.users.set_rights(user.id, is_admin=is_admin, is_active=True, assigned_port=None)
                t.users.set_password(user.id, "", must_change=False)
        found = {one.username: one for one in t.users.all()}
        for name in [name for name in found if name not in PEOPLE][MOST_USERS:]:
            t.users.delete(found[name].id)
        t.users.set_workspace(found["ann"].id, "1-ann")
        for one in VISITORS:
            if not one.username:
                continue
            user_id, now = found[one.username].id, self.house.clock.now
            if one.scope and t.api_tokens.find(self.tokens._hash(self._token[one])) is None:
                hashed = self.tokens._hash(self._token[one])
                t.api_tokens.add(user_id, hashed, "cmm_", one.scope, one.scope, now, EVER)
            sid = f"sid of {one.username}"
            if not one.scope and t.sessions.find(sid, now, 0.0) is None:
                t.sessions.add(sid, user_id, now, EVER, "127.0.0.1")
        return {name: user for name in PEOPLE if (user := t.users.by_name(name))}

    def _run(self, user: User) -> None:
        try:
            row = self.house.lifecycle.start(user)
        except Refused:
            return
        self._step(row.port)

    def goes_on(self) -> None:
        """Let starts get ready, and ends end."""
        for row in self.house.lifecycle.instances():
            if row.state in {State.STARTING, State.STOPPING}:
                self._step(row.port)

    def _step(self, port: int) -> None:
        row = self.house.row(port)
        self.house.comfyui.answers[port] = IDLE
        if row.state is State.STOPPING and row.launch_id:
            self.house.launcher.end(row.launch_id, 0)
        for _ in range(2):
            if self.house.row(port).state in {State.STARTING, State.STOPPING}:
                self.house.step(port)

    def close(self) -> None:
        """Close the file."""
        self.house.close()


def picture() -> bytes:
    """Make a PNG that carries a workflow."""
    words, out = PngInfo(), io.BytesIO()
    words.add_text("workflow", json.dumps({"nodes": []}))
    Image.new("RGB", (8, 8)).save(out, "png", pnginfo=words)
    return out.getvalue()


def quick_hash(password: str) -> str:
    """Hash as ``credentials`` does, but at once: thousands are made here."""
    return generate_password_hash(password, method="pbkdf2:sha256:1")


HASH = f"{credentials.__name__}.generate_password_hash"
"""What is replaced by it."""
