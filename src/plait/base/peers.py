"""Who is at the other end of a connection within this machine, as the kernel says."""

from __future__ import annotations

import contextlib
import pwd
import socket
import struct
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

End = tuple[str, int]
"""Host and port of one end."""

_TABLES: Final = {
    socket.AF_INET: Path("/proc/thread-self/net/tcp"),
    socket.AF_INET6: Path("/proc/thread-self/net/tcp6"),
}
_UID, _INODE = 7, 9  # fields of a line
_WORD = 4  # bytes; the kernel prints addresses as such numbers, in the machine's own order

# <linux/netlink.h>, <linux/sock_diag.h>, <linux/inet_diag.h>
_SOCK_DIAG = 4  # protocol of netlink
_BY_FAMILY, _REQUEST = 20, 1  # type and flags of a message
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI")  # family, protocol, extensions, states
_ENDS = struct.Struct("!HH16s16s12s")  # ports, addresses; interface and cookie
_ANY = bytes(4) + b"\xff" * 8  # any interface, no cookie
_ANSWER = struct.Struct("=4s48sIIIII")  # state, ends; timer, queues, user, inode
_PATIENCE = 1.0  # seconds; the kernel answers before it returns
_CREDENTIALS = struct.Struct("3i")  # <sys/socket.h>: process, user and group


class SocketLike(Protocol):
    """A socket, or what a loop shows of one."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """The value of an option, as bytes."""
        ...


def user(ours: End, theirs: End) -> int | None:
    """The user who opened the other end of a connection.

    None: nobody holds it any more, or it is not in this network namespace.  Of an end that was
    closed the kernel forgets whose it was and tells root's number, but no inode.
    """
    family = socket.AF_INET6 if ":" in theirs[0] else socket.AF_INET
    found = None
    with contextlib.suppress(OSError):  # some containers may not ask
        found = _asked(family, theirs, ours)
    uid, inode = found or _listed(family, theirs, ours)
    return uid if inode else None


def holder(sock: SocketLike) -> tuple[int, int]:
    """Process and user of who opened the other end of a Unix socket.

    Raises:
        OSError: it is no such socket.
    """
    told = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(told)
    return pid, uid


@lru_cache(maxsize=1024)  # it is asked for at each request, and some look it up in the network
def name(uid: int) -> str:
    """The name of a user; its number, if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def number(name: str) -> int:
    """The number of a user who is named, or whose number is.

    Raises:
        LookupError: this machine has no user of that name.
    """
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise LookupError(f'this machine has no user "{name}"') from None


def _asked(family: socket.AddressFamily, mine: End, other: End) -> tuple[int, int] | None:
    """User and inode of the socket between two ends; None: the kernel knows none, or not how."""
    packed = [socket.inet_pton(family, host).ljust(16, b"\0") for host, _ in (mine, other)]
    body = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
    body += _ENDS.pack(mine[1], other[1], *packed, _ANY)
    head = _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(_PATIENCE)
        kernel.send(head + body)
        answer = kernel.recv(4096)
    if _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
        return None
    *_, uid, inode = _ANSWER.unpack_from(answer, _HEADER.size)
    return uid, inode


def _listed(family: socket.AddressFamily, mine: End, other: End) -> tuple[int, int]:
    """The same by a list of all there are; no socket is root's, without inode."""
    wanted = f" {_printed(family, mine)} {_printed(family, other)} "
    lines = _TABLES[family].read_text()
    at = lines.find(wanted)
    if at < 0:
        return 0, 0
    fields = lines[lines.rfind("\n", 0, at) + 1 : lines.find("\n", at)].split()
    return int(fields[_UID]), int(fields[_INODE])


def _printed(family: socket.AddressFamily, end: End) -> str:
    packed = socket.inet_pton(family, end[0])
    words = [packed[i : i + _WORD] for i in range(0, len(packed), _WORD)]
    number = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    return f"{number}:{end[1]:04X}"
