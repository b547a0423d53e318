"""Who listens on a port, asked of the kernel itself: sock_diag(7), the way ``ss`` does it.

It walks its listeners alone and sends the few that are meant. ``/proc/net/tcp`` prints every
connection there is and was a minute ago, twice: on a server at work tens of milliseconds for what
is asked twenty times a second while an instance starts. Call through ``runtime.offload``.
"""

from __future__ import annotations

# The plain socket: eventlet's would look for a green loop in the thread that this runs in.
import _socket
import errno
import os
import struct
import sys
from collections.abc import Iterator

ANSWER_S = 2.0
"""The kernel answers while the question is sent; this is for one that does not."""

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST_DUMP = 0x301
NLM_F_DUMP_INTR = 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
TCP_LISTEN = 10

_HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence and port of a netlink message (netlink(7))."""

_QUESTION = struct.Struct("=BBBxI2s2s16s16sI8s")
"""``inet_diag_req_v2``: family, protocol, extensions, states, then the socket's id."""

_SOCKET = struct.Struct("=BBBB2s2s16s16sI8sIIIII")
"""``inet_diag_msg``: family, state, timer, retransmissions, the socket's id, and last its inode."""

_BUFFER = 1 << 16


def listeners(family: int, port: int) -> Iterator[tuple[bytes, int]]:
    """Give local address (as it is on the wire) and inode of what listens on a TCP port.

    Args:
        family: ``AF_INET`` or ``AF_INET6``; a socket of the latter may take IPv4 too.
        port: of this machine, in this network namespace.

    Raises:
        OSError: this kernel cannot say, or has not said it whole.
    """
    wanted = port.to_bytes(2, "big")
    for message in _ask(family, wanted):
        found = _SOCKET.unpack_from(message)
        state, sport, address, inode = found[1], found[4], found[6], found[-1]
        if state == TCP_LISTEN and sport == wanted:
            yield address[: 4 if found[0] == _socket.AF_INET else 16], inode


def _ask(family: int, port: bytes) -> list[bytes]:
    question = _QUESTION.pack(
        family, _socket.IPPROTO_TCP, 0, 1 << TCP_LISTEN, port, b"", b"", b"", 0, b""
    )
    header = _HEADER.pack(
        _HEADER.size + len(question), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0
    )
    asking = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, NETLINK_SOCK_DIAG)
    try:
        asking.settimeout(ANSWER_S)
        asking.sendto(header + question, (0, 0))
        found: list[bytes] = []
        while True:
            part, _, flags, sender = asking.recvmsg(_BUFFER)
            # Anybody may send to a netlink socket who has the right to; the kernel is number 0.
            if sender[0] == 0 and read(part, found, whole=not flags & _socket.MSG_TRUNC):
                return found
    finally:
        asking.close()


def read(part: bytes, found: list[bytes], *, whole: bool = True) -> bool:
    """Take the sockets out of a part of an answer; tell whether it was the last one.

    Raises:
        OSError: the kernel refused, or this is not all of what it had to say: then nobody may be
            taken for not listening.
    """
    at = 0
    while at + _HEADER.size <= len(part):
        length, kind, flags, _, _ = _HEADER.unpack_from(part, at)
        content = part[at + _HEADER.size : at + length]
        if kind in (NLMSG_ERROR, NLMSG_DONE):
            said = -int.from_bytes(content[:4], sys.byteorder, signed=True)
            if said > 0 or kind == NLMSG_ERROR:
                raise OSError(said or errno.EPROTO, os.strerror(said or errno.EPROTO))
        if not whole or flags & NLM_F_DUMP_INTR or length < _HEADER.size:
            raise OSError(errno.EAGAIN, "the list of listeners changed while it was read")
        if kind == NLMSG_DONE:
            return True
        if kind != SOCK_DIAG_BY_FAMILY or len(content) < _SOCKET.size:
            raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
        found.append(content)
        at += (length + 3) & ~3
    return False
