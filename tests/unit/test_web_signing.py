"""What signs, and that a login has another id once what opens its account has changed."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from itsdangerous import URLSafeTimedSerializer

from manager.web.app import COOKIE_NAME
from manager.web.guard import SESSION_KEY
from tests.support.second_factor import CODE
from tests.support.web import HOST, ORIGIN, PASSWORD, Site, Visitor

NEW = "correct horse battery"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def cookie(visitor: Visitor) -> str:
    found = visitor.client.get_cookie(COOKIE_NAME, domain="manager.test")
    assert found is not None
    return str(found.value)


def signature(text: str) -> bytes:
    last = text.rsplit(".", 1)[1]
    return base64.urlsafe_b64decode(last + "=" * (-len(last) % 4))


def sid(visitor: Visitor) -> str:
    with visitor.client.session_transaction(base_url=ORIGIN) as session:
        return str(session[SESSION_KEY])


def test_session_and_form_token_are_signed_by_sha256(site: Site) -> None:
    ann = site.visitor("ann")
    for signed in (cookie(ann), ann.csrf()):
        assert len(signature(signed)) == hashlib.sha256().digest_size


def test_what_sha1_has_signed_is_worth_nothing(site: Site) -> None:
    ann = site.visitor("ann")
    key = site.house.secret_key
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha1}
    old = URLSafeTimedSerializer(key, salt="cookie-session", signer_kwargs=options)
    ours = old.dumps({SESSION_KEY: sid(ann)})
    nobody = site.app.test_client(use_cookies=False)
    headers = {"Cookie": f"{COOKIE_NAME}={ours}"}
    assert nobody.get("/api/user/state", base_url=ORIGIN, headers=headers).status_code == 401

    ann.csrf()
    with ann.client.session_transaction(base_url=ORIGIN) as session:
        content = session["csrf_token"]
    token = URLSafeTimedSerializer(key, salt="wtf-csrf-token").dumps(content)
    sent = {"X-CSRFToken": token}
    assert ann.send("POST", "/api/user/start", csrf=False, headers=sent).status_code == 400
    assert ann.send("POST", "/api/user/start").status_code == 202


def test_a_new_password_gives_the_login_another_id(site: Site) -> None:
    ann = site.visitor("ann")
    before, kept = sid(ann), cookie(ann)
    listening = ann.connect(ORIGIN)
    form = {"old_password": PASSWORD, "new_password": NEW, "repeat_password": NEW}
    assert ann.post("/password", data=form).status_code == 302
    assert sid(ann) != before
    assert ann.get("/api/user/state").status_code == 200, "this one goes on"
    stolen = site.app.test_client(use_cookies=False)
    headers = {"Host": HOST, "Cookie": f"{COOKIE_NAME}={kept}"}
    assert stolen.get("/api/user/state", base_url=ORIGIN, headers=headers).status_code == 401
    site.live.push(0.0)
    assert len(site.live.connections()) == 1, "its open pages stay"
    assert listening.is_connected()


def test_so_does_a_wrong_try_not(site: Site) -> None:
    ann = site.visitor("ann")
    before = sid(ann)
    form = {"old_password": "wrong", "new_password": NEW, "repeat_password": NEW}
    ann.post("/password", data=form)
    assert sid(ann) == before


def test_turning_two_step_login_on_and_off_does(site: Site) -> None:
    ann = site.visitor("ann")
    seen = [sid(ann)]
    ann.post("/account/second-factor/begin", data={"password": PASSWORD})
    ann.post("/account/second-factor/confirm", data={"code": CODE})
    seen.append(sid(ann))
    assert "recovery" in ann.get("/account/second-factor").text.lower(), "they are shown once"
    for way in ("codes", "off"):
        form = {"password": PASSWORD, "code": CODE}
        assert ann.post(f"/account/second-factor/{way}", data=form).status_code == 302
        seen.append(sid(ann))
    assert len(set(seen)) == len(seen)
