"""A certificate for a domain, asked of a real authority (ACME); what is said while it fails."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.support.acme import Authority
from tests.support.chaos import SETTINGS
from tests.support.client import first_admin, new_user
from tests.support.server import LOOPBACK, ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

NAME = "gpu.example.org"


def names_at(port: int, trusted: Path | str) -> list[str]:
    """Give the names of the certificate that who trusts ``trusted`` is shown; none if refused."""
    context = ssl.create_default_context(cafile=str(trusted))
    try:
        with (
            socket.create_connection((LOOPBACK, port), 10) as sock,
            context.wrap_socket(sock, server_hostname=NAME) as wrapped,
        ):
            told: Any = wrapped.getpeercert()
            return [shown for _kind, shown in told["subjectAltName"]]
    except OSError:
        return []


def of_https(manager: ManagerProcess) -> dict[str, str]:
    """Give what the doctor says of HTTPS: level by case."""
    told = json.loads(manager.run("doctor", "--json").stdout)
    return {one["case"]: one["level"] for one in told["findings"] if one["check"] == "https"}


def test_a_domain_gets_its_certificate_and_until_then_all_works_with_a_warning(
    tmp_path: Path,
) -> None:
    ca = Authority(tmp_path / "ca")
    with ca.running():
        pass
    house = ManagerProcess(tmp_path / "house", settings={**SETTINGS, **ca.settings(NAME)})
    with house as manager, first_admin(manager) as admin:

        def problem() -> str:
            return str(admin.get("/api/admin/overview")["gate"]["problem"] or "")

        # The authority is away. It is said on the page, by doctor and status, and in the log.
        wait_until(lambda: "Caddy says" in problem(), 60, "the page says why")
        assert f"no certificate for {NAME} yet" in problem()
        assert "connection refused" in problem()
        assert f"TLS: HTTPS: no certificate for {NAME}" in manager.log_path.read_text("utf-8")
        assert of_https(manager)["refused"] == "problem"
        # Page and gates are there all the same, by the own authority.
        ports = [manager.port, manager.workspace_ports[0], manager.external_ports[0]]
        assert {tuple(names_at(port, ca.root)) for port in ports} == {()}
        with ca.running(), new_user(admin, "ann") as ann:
            # A gate that opens has Caddy try again at once.
            assert str(ann.start()["workspace_url"]).startswith(f"https://{NAME}:")
            wait_until(lambda: names_at(manager.port, ca.root) == [NAME], 60, "a certificate")
            assert {tuple(names_at(port, ca.root)) for port in ports} == {(NAME,)}
            wait_until(lambda: not problem(), 60, "the page says nothing any more")
            ann.stop()
        assert f"certificate {manager.data_dir}" in manager.run("status").stdout
        assert f"http://{NAME}/.well-known/acme-challenge/" in ca.asked[0]
