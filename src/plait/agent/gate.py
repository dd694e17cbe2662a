"""Who may come near a proxy's sockets: its own Envoy, and nobody else.

All Envoys of a machine are one user, so the rights of files cannot keep them apart.  The kernel
says who connects; only then are the bytes handed on, to a socket in a directory that only the
agent enters.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from plait.agent.streams import until_one_ends
from plait.base import connections, peers, processes
from plait.base.once import Once
from plait.base.processes import Handle

MOST: Final = 16
"""Connections to one socket at a time; an Envoy has one or two."""

_PEER_PIDFD: Final = 77  # SO_PEERPIDFD, since Linux 6.5
_SIZE: Final = 64 * 1024  # bytes that are copied at a time
_PATIENCE, _LOOK = 2.0, 0.05  # seconds until it is known which Envoy was started; between looks
_log = structlog.get_logger(__name__)


class Peer(Struct, frozen=True, kw_only=True):
    """The process at the other end.

    Attributes:
        network: device and inode of its network namespace.
    """

    handle: Handle
    uid: int
    network: tuple[int, int]


class Guest(Struct, frozen=True, kw_only=True):
    """Who may come in.

    Attributes:
        network: path of its network namespace; empty: ours.
        envoy: the Envoy that runs; None: none does, or it is not known yet.
    """

    uid: int
    network: str
    envoy: Callable[[], Handle | None]


class Gate:
    """A socket that leads to another one, for one guest.

    Args:
        public: where Envoy connects.
        private: where somebody serves.
        proxy: for the log.
    """

    def __init__(self, public: Path, private: Path, guest: Guest, proxy: str) -> None:
        self._public = public
        self._private = private
        self._guest = guest
        self._proxy = proxy
        self._open: set[socket.socket] = set()
        self._refused = Once()

    @property
    def count(self) -> int:
        """Connections that are open, or waiting to be let in."""
        return len(self._open)

    async def run(self) -> None:
        """Let in whom it concerns until cancelled.

        Raises:
            OSError: the socket cannot be made.
        """
        with _listening(self._public) as listener:
            async with asyncio.TaskGroup() as group:
                async for client in connections.taken(listener):
                    if len(self._open) >= MOST:
                        self._tell(None, f"more than {MOST} connections at a time")
                        client.close()
                        continue
                    self._open.add(client)
                    group.create_task(self._serve(client), name=f"gate:{self._proxy}")

    async def _serve(self, client: socket.socket) -> None:
        try:
            if await self._is_welcome(client):
                with contextlib.suppress(OSError):
                    await _join(client, self._private)
        finally:
            self._open.discard(client)
            client.close()

    async def _is_welcome(self, client: socket.socket) -> bool:
        try:
            peer = seen(client)
        except OSError:
            return False  # it has ended
        words = refusal(peer, self._guest)
        if not words:
            words = await self._stranger(peer)
        if words:
            self._tell(peer, words)
        return not words

    async def _stranger(self, peer: Peer) -> str:
        """Why it is not the Envoy that the agent started; empty: it is."""
        for _ in range(int(_PATIENCE / _LOOK)):
            if self._guest.envoy() == peer.handle:
                return ""
            await asyncio.sleep(_LOOK)
        return "it is not the proxy's Envoy"

    def _tell(self, peer: Peer | None, words: str) -> None:
        """Log a refusal, once for each process."""
        if not self._refused.say((peer.handle if peer else None, words)):
            return
        log = _log.bind(proxy=self._proxy, path=str(self._public))
        if peer is not None:
            log = log.bind(pid=peer.handle.pid, uid=peer.uid, network=peer.network[1])
        log.warning("connection refused", error=words)


def seen(sock: socket.socket) -> Peer:
    """The process that connected.

    Raises:
        OSError: it has ended, or cannot be looked at.
    """
    pid, uid = peers.holder(sock)
    file = _pidfd(sock, pid)
    try:
        return looked_at(pid, uid, file)
    finally:
        os.close(file)


def looked_at(pid: int, uid: int, file: int) -> Peer:
    """What the kernel says of a process; `file` is its pidfd.

    Raises:
        OSError: it has ended, and its number may be another's.
    """
    where = os.stat(f"/proc/{pid}/ns/net")
    handle = processes.handle(pid)
    # It was read of the number; it is of the process if that has not ended by now.
    if handle is None or select.select([file], [], [], 0)[0]:
        raise ProcessLookupError(f"process {pid} has ended")
    return Peer(handle=handle, uid=uid, network=(where.st_dev, where.st_ino))


def refusal(peer: Peer, guest: Guest) -> str:
    """Why a process may not come in whichever program it runs; empty: it may."""
    if peer.uid != guest.uid:
        return f"it is of user {peer.uid}, and Envoy of user {guest.uid}"
    try:
        about = os.stat(guest.network or "/proc/self/ns/net")
    except OSError as error:
        return f"the network of the proxy is not there: {error.strerror}"
    if peer.network != (about.st_dev, about.st_ino):
        return "it is in another network than the proxy"
    return ""


def _pidfd(sock: socket.socket, pid: int) -> int:
    """A file that stands for the process that connected, and for none that has its number later."""
    try:
        return sock.getsockopt(socket.SOL_SOCKET, _PEER_PIDFD)
    except OSError:  # an older kernel: the number may have changed hands before this moment
        return os.pidfd_open(pid)


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(0)
        listener.bind(str(path))
        path.chmod(0o666)  # who may come in is asked at the door
        listener.listen(MOST)
        yield listener


async def _join(client: socket.socket, private: Path) -> None:
    """Hand on bytes both ways until one side ends."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as inner:
        inner.settimeout(0)
        await loop.sock_connect(inner, str(private))
        await until_one_ends(_copied(client, inner), _copied(inner, client), name="gate:copy")


async def _copied(source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await loop.sock_recv(source, _SIZE):
            await loop.sock_sendall(sink, data)
