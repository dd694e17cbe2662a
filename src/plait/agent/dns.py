"""The resolver of a Pod: names of the mesh from a table, all others from the machine's resolvers.

The table is what the control plane last said.  Nobody is asked when a query comes, so answers are
right while the control plane is down, and while the Pod's Envoy is.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from plait.agent import dns_message, dns_upstream
from plait.agent.dns_message import AAAA, NXDOMAIN, SERVFAIL, A, Question
from plait.base import connections, netns
from plait.config import names as hosts
from plait.config.capture import DNS_PORT

_LOCALHOST: Final = ("127.0.0.1", "::1")
_PRIVATE: Final = (f".{hosts.DOMAIN}", ".10.in-addr.arpa", ".127.in-addr.arpa", ".240.in-addr.arpa")
_CHAIN: Final = 8  # names that stand for another name, one after the other
_WAITING: Final = 256  # queries that wait for the machine's resolvers at one time
_CONNECTIONS: Final = 64
_IDLE: Final = 10.0  # seconds that a TCP connection may say nothing


class Names:
    """What the names of the mesh mean; shared by whoever sees the same."""

    def __init__(self) -> None:
        self._table: Mapping[str, tuple[str, ...]] | None = None

    @property
    def known(self) -> bool:
        """Whether there is a table at all: without one, no name can be said not to exist."""
        return self._table is not None

    def replace(self, table: Mapping[str, tuple[str, ...]]) -> None:
        """Go over to another table; in the form of `xds.dns_table.Records`."""
        self._table = table

    def find(self, name: str) -> tuple[str, tuple[str, ...] | None]:
        """The name that `name` is another word for, or itself; and its addresses.

        ``()``: it is there and has no address; None: it is not in the table.
        """
        for _ in range(_CHAIN):
            found = self._entry(name)
            if not found or _is_address(found[0]):
                return name, found
            name = found[0].lower().rstrip(".")
        return name, ()

    def _entry(self, name: str) -> tuple[str, ...] | None:
        table = self._table or {}
        found = table.get(name)
        if found is not None:
            return found
        covers = (one for one in hosts.wildcards(name) if one in table)
        return next((table[one] for one in covers), None)


class Resolver:
    """Answers UDP and TCP on one port of loopback, in a network namespace.

    Capture rules lead queries for any resolver there.

    Args:
        namespace: path of the network namespace; empty: this process's.
        names: the table; it may be replaced at any time.
        upstream: for all other names, as ``ADDRESS`` or ``ADDRESS:PORT``, asked from where this
            process is.
    """

    def __init__(
        self, namespace: str, names: Names, upstream: Sequence[str], *, port: int = DNS_PORT
    ) -> None:
        self._namespace = namespace
        self._names = names
        self._upstream = dns_upstream.Upstream(upstream)
        self._address = ("127.0.0.1", port)
        self._waiting = 0
        self._connections = 0

    async def run(self) -> None:
        """Answer until cancelled.

        Raises:
            OSError: the port is taken, or there is no such namespace.
        """
        with (
            closing(netns.bound(self._namespace, socket.SOCK_DGRAM, self._address)) as datagrams,
            closing(netns.bound(self._namespace, socket.SOCK_STREAM, self._address)) as streams,
        ):
            await self._serve(datagrams, streams)

    async def _serve(self, datagrams: socket.socket, streams: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:

            def take(packet: bytes, reply: Callable[[bytes], None]) -> None:
                answer = self._at_once(packet, stream=False)
                if isinstance(answer, Question):
                    group.create_task(self._later(answer, reply), name="dns:forward")
                elif answer:
                    reply(answer)

            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(take), sock=datagrams
            )
            with closing(transport):
                async for sock in connections.taken(streams):
                    group.create_task(self._converse(sock), name="dns:connection")

    async def _converse(self, sock: socket.socket) -> None:
        """Answer what is asked over one connection, one after the other."""
        if self._connections >= _CONNECTIONS:
            sock.close()
            return
        self._connections += 1
        try:
            reader, writer = await asyncio.open_connection(sock=sock)
            with closing(writer):
                await self._answer_all(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections -= 1

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(_IDLE):
                packet = await dns_upstream.read(reader)
            answer = self._at_once(packet, stream=True)
            if isinstance(answer, Question):
                answer = await self._forwarded(answer, stream=True)
            if not answer:
                return
            async with asyncio.timeout(_IDLE):
                dns_upstream.write(writer, answer)
                await writer.drain()

    async def _later(self, question: Question, reply: Callable[[bytes], None]) -> None:
        reply(await self._forwarded(question, stream=False))

    def _at_once(self, packet: bytes, *, stream: bool) -> bytes | Question:
        """The answer to a packet, empty for none; the question if others must be asked."""
        question = dns_message.parse(packet)
        if isinstance(question, bytes):
            return question
        target, found = self._found(question.name)
        if found is not None:
            return dns_message.reply(
                question,
                _of_type(question, found),
                alias=target if target != question.name else "",
                stream=stream,
            )
        if not _is_ours(target):
            return question
        code = NXDOMAIN if self._names.known else SERVFAIL
        return dns_message.reply(question, code=code, stream=stream)

    def _found(self, name: str) -> tuple[str, tuple[str, ...] | None]:
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: never asked elsewhere
            return name, _LOCALHOST
        return self._names.find(name)

    async def _forwarded(self, question: Question, *, stream: bool) -> bytes:
        """What the machine's resolvers say; SERVFAIL if none does in time."""
        target, _ = self._names.find(question.name)
        alias = target if target != question.name else ""
        asked = dns_message.renamed(question, alias) if alias else question.packet
        if asked is None or self._waiting >= _WAITING:
            return dns_message.reply(question, code=SERVFAIL, stream=stream)
        self._waiting += 1
        try:
            answer = await self._upstream.ask(asked, stream=stream)
        finally:
            self._waiting -= 1
        if answer is None:
            return dns_message.reply(question, code=SERVFAIL, stream=stream)
        if not alias:
            return answer
        found = dns_message.addresses(answer, question.type)
        return dns_message.reply(question, found, alias=alias, stream=stream)


class _Datagrams(asyncio.DatagramProtocol):
    """Hands on each datagram, with the way back to its sender."""

    def __init__(self, take: Callable[[bytes, Callable[[bytes], None]], None]) -> None:
        self._take = take

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._take(data, lambda answer: self._transport.sendto(answer, addr))


def _of_type(question: Question, addresses: Sequence[str]) -> Sequence[str]:
    """Addresses of the type that is asked for, in any order, so that callers spread."""
    if question.type not in (A, AAAA):
        return ()
    wanted = [one for one in addresses if (":" in one) == (question.type == AAAA)]
    return random.sample(wanted, len(wanted))


def _is_address(written: str) -> bool:
    return ":" in written or written.rpartition(".")[2].isdigit()


def _is_ours(name: str) -> bool:
    """Whether nobody else could know a name: the cluster's, of its addresses, or without a dot."""
    return (name != "" and "." not in name) or name.endswith(_PRIVATE)
