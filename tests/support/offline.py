"""A day of a manager without any network: run in a network namespace of its own.

    unshare --net python -m tests.support.offline START_MANAGER_SH PORT FOLDER

Exit code 0 when everything worked.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import requests

from tests.support.client import ADMIN_PASSWORD, Client, first_admin

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def bring_loopback_up() -> None:
    """Do what ``ip link set lo up`` does (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock, SIOCGIFFLAGS, asked))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def nothing_is_reached() -> bool:
    """Tell whether this machine has no way out: loopback is all there is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # A documentation address (RFC 5737): connecting a datagram socket sends nothing.
            sock.connect(("192.0.2.1", 9))
        except OSError:
            return [name for _number, name in socket.if_nameindex()] == ["lo"]
    return False


def call(script: str, *words: str) -> str:
    """Run the script and give what it printed."""
    done = subprocess.run(
        [script, *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


def main(script: str, port: str, folder: str) -> None:
    """Start, use, back up and stop; then put the backup back, and start again."""
    bring_loopback_up()
    assert nothing_is_reached(), "there is a network after all"
    archive = f"{folder}/offline.tar.gz"
    call(script, "start")
    try:
        manager: Any = SimpleNamespace(url=f"http://127.0.0.1:{port}", trusted=True)
        with first_admin(cast("Any", manager)) as admin:
            link = admin.start()["workspace_url"]
            assert requests.get(link, timeout=30).status_code == 200
            findings = json.loads(call(script, "doctor", "--json", "--exit-zero"))["findings"]
            assert next(one for one in findings if one["check"] == "service")["case"] == "ok"
            call(script, "backup", archive)
            assert json.loads(call(script, "status", "--json"))["ports"][0]["held"]
            call(script, "users", "create", "made-after-the-backup")
    finally:
        call(script, "stop")
    call(script, "restore", archive)
    call(script, "start")
    try:
        with Client(cast("Any", manager), "admin", ADMIN_PASSWORD) as admin:
            users = [one["username"] for one in admin.get("/api/admin/overview")["users"]]
            assert users == ["admin"], users
            assert requests.get(admin.start()["workspace_url"], timeout=30).status_code == 200
    finally:
        call(script, "stop")


if __name__ == "__main__":
    main(*sys.argv[1:])
