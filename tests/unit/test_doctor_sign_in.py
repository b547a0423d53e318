"""What the doctor says of a real provider that answers, does not, or says something else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import settings
from manager.doctor.sign_in import sign_in
from manager.settings import Settings
from tests.support.oidc_provider import Provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


def said(of: Settings, ahead: float = 0.0) -> list[tuple[str, str]]:
    return [(one.level, one.case) for one in sign_in(of, lambda: time.time() - ahead)]


def test_without_one_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    assert said(settings.load({}, root=tmp_path)) == [("ok", "none")]


def test_a_real_one(provider: Provider, tmp_path: Path) -> None:
    of = settings.load(provider.settings(tmp_path), root=tmp_path)
    assert said(of) == [("ok", "ok")]
    for ahead in (-90, 90):
        assert said(of, ahead) == [("warning", "clock")]
    provider.told(wrong="document_issuer")
    assert said(of) == [("problem", "wrong")]
    provider.told(wrong="document_text")
    assert said(of)[0][0] == "problem"
    provider.stop()
    (found,) = sign_in(of)
    assert (found.level, found.case) == ("problem", "silent")
    assert found.params["issuer"] == of.oidc_issuer
    of.oidc_client_secret_file.unlink()
    assert said(of) == [("problem", "secret")]
