"""Asking the kernel who listens: what it says is what /proc says, and half an answer is none."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from manager.launcher import listeners, sock_diag

FAMILIES = pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0"),
        (socket.AF_INET6, "::"),
        (socket.AF_INET6, "::ffff:127.0.0.1"),
    ],
)


def _inode(of: socket.socket) -> int:
    return os.fstat(of.fileno()).st_ino


@FAMILIES
def test_whoever_loopback_reaches_is_found_as_in_proc(family: int, address: str) -> None:
    with socket.socket(family) as one:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.bind((address, 0))
        port = one.getsockname()[1]
        assert listeners.listening_inodes(port) == set()
        one.listen()
        with socket.create_connection(("127.0.0.1", port)):
            assert listeners.listening_inodes(port) == {_inode(one)}
            assert listeners.listed_inodes(port) == {_inode(one)}
    assert listeners.listening_inodes(port) == set()


def test_two_side_by_side_are_both_found_and_another_address_is_not() -> None:
    with socket.socket() as one, socket.socket() as two, socket.socket() as elsewhere:
        for each in (one, two, elsewhere):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        two.bind(("127.0.0.1", port))
        elsewhere.bind(("127.0.0.2", port))
        for each in (one, two, elsewhere):
            each.listen()
        assert listeners.listening_inodes(port) == {_inode(one), _inode(two)}


def _message(kind: int, content: bytes, flags: int = 2) -> bytes:
    return struct.pack("=IHHII", 16 + len(content), kind, flags, 1, 0) + content


SOCKET = bytes(72)
DONE = _message(sock_diag.NLMSG_DONE, struct.pack("=i", 0))


def test_an_answer_is_read_to_its_end() -> None:
    found: list[bytes] = []
    assert not sock_diag.read(_message(sock_diag.SOCK_DIAG_BY_FAMILY, SOCKET), found)
    assert sock_diag.read(_message(sock_diag.SOCK_DIAG_BY_FAMILY, SOCKET) + DONE, found)
    assert found == [SOCKET, SOCKET]


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        # A kernel without the module says so at the end of an empty list.
        (_message(sock_diag.NLMSG_DONE, struct.pack("=i", -2)), True),
        (_message(sock_diag.NLMSG_ERROR, struct.pack("=i", -2)), True),
        (_message(sock_diag.NLMSG_ERROR, struct.pack("=i", 0)), True),
        (_message(sock_diag.NLMSG_DONE, struct.pack("=i", 0), sock_diag.NLM_F_DUMP_INTR), True),
        (_message(sock_diag.SOCK_DIAG_BY_FAMILY, SOCKET[:40]), True),
        (_message(99, SOCKET), True),
        (bytes(16), True),
        (_message(sock_diag.SOCK_DIAG_BY_FAMILY, SOCKET), False),
    ],
)
def test_half_an_answer_never_means_that_nobody_listens(part: bytes, whole: bool) -> None:
    with pytest.raises(OSError, match=r"."):
        sock_diag.read(part, [], whole=whole)


def test_where_the_kernel_does_not_say_the_tables_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(family: int, port: int) -> None:
        raise OSError(2, "no such module")

    monkeypatch.setattr(sock_diag, "listeners", refuse)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        assert listeners.listening_inodes(one.getsockname()[1]) == {_inode(one)}
