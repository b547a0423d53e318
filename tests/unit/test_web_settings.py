"""The page of the settings: where each came from, what it means, and no secret on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manager import settings
from manager.web import setting_words, settings_page
from tests.support.web import Site


def load(tmp_path: Path, text: str = "", **environ: str) -> settings.Settings:
    config = tmp_path / "manager.toml"
    config.write_text(text, encoding="utf-8")
    return settings.load(environ, config, root=tmp_path)


def shown(found: settings.Settings, name: str, language: str = "en") -> settings_page.View:
    rows = settings_page.settings_view(found, language)
    return next(one for one in rows if one["name"] == name)


def test_each_says_where_its_value_came_from(tmp_path: Path) -> None:
    text = '# a word\nIDLE_TIMEOUT = 30\n"MAX_WORKERS"=4\n\n[[ PORTS ]]\n' + "\n".join(
        f"{name} = {value}"
        for name, value in {
            "port": 8001,
            "external_port": 9001,
            "workspace_port": 9081,
            "card": 1,
        }.items()
    )
    found = load(tmp_path, text, MAX_WORKERS="5")
    idle = shown(found, "IDLE_TIMEOUT")
    assert (idle["from"], idle["line"], idle["place"]) == (
        "file",
        2,
        str(tmp_path / "manager.toml"),
    )
    assert (idle["value"], idle["default"], idle["changed"]) == ("30", "600", True)
    workers = shown(found, "MAX_WORKERS")
    assert (workers["from"], workers["line"], workers["value"]) == ("environment", None, "5")
    ports = shown(found, "PORTS")
    assert (ports["from"], ports["line"], ports["value"]) == ("file", 5, "8001:9001:9081:1")
    plain = shown(found, "START_TIMEOUT")
    assert (plain["from"], plain["changed"], plain["default"]) == ("default", False, None)


def test_a_name_inside_of_another_or_in_a_comment_is_not_its_line(tmp_path: Path) -> None:
    text = "#IDLE_TIMEOUT = 1\nIDLE_TIMEOUT = 600"
    idle = shown(load(tmp_path, text), "IDLE_TIMEOUT")
    assert idle["line"] == 2
    # Set to what it would have been anyway.
    assert not idle["changed"]


def test_secrets_are_masked(tmp_path: Path) -> None:
    found = load(
        tmp_path, COMFYUI_ARGS="--fast --api-key S3CRET --hf-token=S3CRET --x http://u:S3CRET@h/"
    )
    value = shown(found, "COMFYUI_ARGS")["value"]
    mask = settings_page.MASK
    assert value == f"--fast --api-key {mask} --hf-token={mask} --x http://{mask}@h/"


@pytest.mark.parametrize("name", ["SMTP_PASSWORD", "API_KEY", "OIDC_CLIENT_SECRET", "BOT_TOKEN"])
def test_a_setting_by_a_secret_s_name_is_masked(name: str) -> None:
    assert settings_page._shown(name, "S3CRET") == settings_page.MASK
    assert settings_page._shown(name, "") == ""


def test_a_password_in_an_address_is_masked() -> None:
    shown_as = settings_page._shown("PROXY_ADDRESS", "https://ann:S3CRET@host/path")
    assert shown_as == f"https://{settings_page.MASK}@host/path"


def test_no_setting_there_is_is_taken_for_a_secret(tmp_path: Path) -> None:
    masked = [
        one["name"]
        for one in settings_page.settings_view(load(tmp_path), "en")
        if settings_page.MASK in one["value"]
    ]
    assert masked == []


def test_each_setting_has_its_meaning_in_both_languages() -> None:
    for name in settings.names():
        english, chinese = (setting_words.describe(name, one) for one in ("en", "zh_CN"))
        assert set(english) == set(chinese)
        assert english["help"] != chinese["help"]


def test_a_new_sentence_of_what_is_allowed_needs_its_chinese() -> None:
    with pytest.raises(LookupError, match="no Chinese"):
        setting_words._allowed("whatever one likes")


def test_settings_of_unknown_origin_are_defaults(tmp_path: Path) -> None:
    # As the tests make them, and a program that changes some.
    assert shown(replace(load(tmp_path), max_workers=3), "MAX_WORKERS")["from"] == "default"


def test_the_page_finds_without_a_script(tmp_path: Path) -> None:
    site = Site(tmp_path, IDLE_TIMEOUT="30")
    admin = site.visitor("admin")
    page = admin.get("/settings").text
    assert "environment variable · default: 600" in page
    found = admin.get("/settings?q=idle+wARNING").text
    assert 'data-setting="IDLE_WARNING"  >' in found
    assert 'data-setting="MAX_WORKERS"  hidden>' in found
    changed = admin.get("/settings?changed=1").text
    assert 'data-setting="IDLE_TIMEOUT" data-changed >' in changed
    assert 'data-setting="IDLE_WARNING"  hidden>' in changed
    chinese = site.visitor("admin", **{"Accept-Language": "zh-CN"}).get("/settings").text
    assert "没有任务多久之后结束实例。" in chinese
    assert "秒" in chinese
