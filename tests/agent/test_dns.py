"""The resolver of a Pod, over real sockets and in a real network namespace."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from plait.agent.dns import Names, Resolver
from plait.base.processes import Command
from plait.config.capture import Capture
from tests.support.commands import output
from tests.support.netns import Network, needs_root

ADDRESSES = tuple(f"10.0.{i // 100}.{i % 100}" for i in range(200))
TABLE = {
    "reviews.demo.svc.cluster.local": ("10.96.0.1",),
    "both.demo.svc.cluster.local": ("10.96.0.2", "fd00::2"),
    "crowd.demo.svc.cluster.local": ADDRESSES,
    "empty.demo.svc.cluster.local": (),
    "*.example.com": ("240.240.0.1",),
    "www.example.com": ("240.240.0.2",),
    "inner.demo.svc.cluster.local": ("Reviews.demo.svc.cluster.local",),
    "outer.demo.svc.cluster.local": ("real.test",),
    "lost.demo.svc.cluster.local": ("gone.demo.svc.cluster.local",),
    "ring.demo.svc.cluster.local": ("ring.demo.svc.cluster.local",),
}
Ask = Callable[..., Awaitable[dns.message.Message]]


def free_port() -> int:
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        stream.bind(("127.0.0.1", 0))
        port: int = stream.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        return port


class Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.packets: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.packets.put_nowait(data)


async def over_udp(port: int, packet: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=("127.0.0.1", port))
    try:
        transport.sendto(packet)
        async with asyncio.timeout(10):
            return await client.packets.get()
    finally:
        transport.close()


async def over_tcp(port: int, *packets: bytes) -> list[bytes]:
    """Answers to what is asked at once over one connection."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(len(one).to_bytes(2, "big") + one for one in packets))
        found = []
        for _ in packets:
            length = int.from_bytes(await reader.readexactly(2), "big")
            found.append(await reader.readexactly(length))
        writer.close()
        return found


@asynccontextmanager
async def resolver(
    table=TABLE, upstream=(), namespace="", port: int = 0
) -> AsyncIterator[tuple[Names, int]]:
    names = Names()
    if table is not None:
        names.replace(table)
    port = port or free_port()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(Resolver(namespace, names, upstream, port=port).run())
        await asyncio.sleep(0)  # it binds before it first waits
        yield names, port
        assert not running.done()
        running.cancel()


@asynccontextmanager
async def machine(answers: Callable[[bytes], bytes | None]) -> AsyncIterator[str]:
    """A resolver of the machine, which says what `answers` says; its address."""
    port = free_port()

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, addr):
            if (answer := answers(data)) is not None:
                self.transport.sendto(answer, addr)

    async def converse(reader, writer):
        length = int.from_bytes(await reader.readexactly(2), "big")
        answer = answers(await reader.readexactly(length))
        if answer is not None:
            writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", port))
    async with await asyncio.start_server(converse, "127.0.0.1", port):
        try:
            yield f"127.0.0.1:{port}"
        finally:
            transport.close()


def knows(packet: bytes) -> bytes:
    """Every name has the address 192.0.2.1."""
    query = dns.message.from_wire(packet)
    answer = dns.message.make_response(query)
    if query.question[0].rdtype == dns.rdatatype.A:
        name = query.question[0].name
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.1"))
    return answer.to_wire()


def ask(
    *questions: tuple[str, str], upstream=None, table=TABLE, tcp: bool = False
) -> list[dns.message.Message]:
    """Answers to questions, asked one after the other."""

    async def story() -> list[dns.message.Message]:
        packets = [dns.message.make_query(*one).to_wire() for one in questions]
        async with (
            machine(upstream or (lambda _: None)) as elsewhere,
            resolver(table, (elsewhere,) if upstream else ()) as (_, port),
        ):
            if tcp:
                found = await over_tcp(port, *packets)
            else:
                found = [await over_udp(port, one) for one in packets]
            return [dns.message.from_wire(one) for one in found]

    return asyncio.run(story())


def addresses(message: dns.message.Message) -> list[str]:
    return [one.to_text() for found in message.answer for one in found]


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("reviews.demo.svc.cluster.local.", "A", ["10.96.0.1"]),
        ("REVIEWS.demo.SVC.cluster.local", "A", ["10.96.0.1"]),
        ("reviews.demo.svc.cluster.local", "AAAA", []),
        ("reviews.demo.svc.cluster.local", "MX", []),
        ("both.demo.svc.cluster.local", "A", ["10.96.0.2"]),
        ("both.demo.svc.cluster.local", "AAAA", ["fd00::2"]),
        ("empty.demo.svc.cluster.local", "A", []),
        ("a.b.example.com", "A", ["240.240.0.1"]),
        ("www.example.com", "A", ["240.240.0.2"]),
        ("localhost", "A", ["127.0.0.1"]),
        ("app.localhost", "AAAA", ["::1"]),
        ("inner.demo.svc.cluster.local", "A", ["reviews.demo.svc.cluster.local.", "10.96.0.1"]),
        ("ring.demo.svc.cluster.local", "A", []),
    ],
)
def test_names_of_the_table_are_answered_without_asking_anybody(name, kind, expected, tcp):
    (found,) = ask((name, kind), tcp=tcp)

    assert found.rcode() == dns.rcode.NOERROR
    assert addresses(found) == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gone.demo.svc.cluster.local", "A"),
        ("lost.demo.svc.cluster.local", "A"),
        ("reviews", "A"),
        ("5.0.244.10.in-addr.arpa", "PTR"),
        ("1.0.240.240.in-addr.arpa", "PTR"),
    ],
)
def test_what_only_the_mesh_could_know_does_not_exist(name, kind):
    (found,) = ask((name, kind), upstream=knows)

    assert found.rcode() == dns.rcode.NXDOMAIN


def test_before_there_is_a_table_no_name_is_said_not_to_exist():
    ours, other = ask(
        ("reviews.demo.svc.cluster.local", "A"), ("x.test", "A"), upstream=knows, table=None
    )

    assert ours.rcode() == dns.rcode.SERVFAIL
    assert addresses(other) == ["192.0.2.1"]


def test_a_name_means_what_the_newest_table_says():
    async def story() -> None:
        query = dns.message.make_query("reviews.demo.svc.cluster.local", "A").to_wire()
        async with resolver() as (names, port):
            names.replace({"reviews.demo.svc.cluster.local": ("10.96.0.9",)})
            found = dns.message.from_wire(await over_udp(port, query))
            assert addresses(found) == ["10.96.0.9"]

    asyncio.run(story())


def test_callers_are_spread_over_the_addresses_of_a_name():
    table = {"all.demo.svc.cluster.local": ("10.0.0.1", "10.0.0.2")}

    found = ask(*[("all.demo.svc.cluster.local", "A")] * 50, table=table)

    assert {addresses(one)[0] for one in found} == {"10.0.0.1", "10.0.0.2"}


def test_what_is_cut_off_over_udp_comes_whole_over_tcp():
    name = "crowd.demo.svc.cluster.local"

    (short,), (whole,) = ask((name, "A")), ask((name, "A"), tcp=True)

    assert short.flags & dns.flags.TC
    assert sorted(addresses(whole)) == sorted(ADDRESSES)


@pytest.mark.parametrize("tcp", [False, True])
def test_other_names_are_asked_of_the_machine(tcp):
    outside, alias = ask(
        ("api.test", "A"), ("outer.demo.svc.cluster.local", "A"), upstream=knows, tcp=tcp
    )

    assert addresses(outside) == ["192.0.2.1"]
    assert addresses(alias) == ["real.test.", "192.0.2.1"]


def test_where_the_machine_has_no_resolver_other_names_fail_at_once():
    (found,) = ask(("api.test", "A"))

    assert found.rcode() == dns.rcode.SERVFAIL


def test_a_resolver_that_is_gone_is_a_failure_and_the_next_one_is_asked():
    async def story() -> None:
        query = dns.message.make_query("api.test", "A").to_wire()
        dead = f"127.0.0.1:{free_port()}"
        async with machine(knows) as alive:
            async with resolver(upstream=(dead,)) as (_, port):
                found = dns.message.from_wire(await over_udp(port, query))
                assert found.rcode() == dns.rcode.SERVFAIL
            async with resolver(upstream=(dead, alive)) as (_, port):
                found = dns.message.from_wire(await over_udp(port, query))
                assert addresses(found) == ["192.0.2.1"]

    asyncio.run(story())


def test_names_of_the_mesh_do_not_wait_behind_a_machine_that_is_silent():
    async def story() -> None:
        outside = dns.message.make_query("api.test", "A").to_wire()
        own = dns.message.make_query("reviews.demo.svc.cluster.local", "A").to_wire()
        asked = asyncio.Event()

        def silent(_: bytes) -> None:
            asked.set()

        async with machine(silent) as elsewhere, resolver(upstream=(elsewhere,)) as (_, port):
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(over_udp(port, outside))
                await asked.wait()
                assert addresses(dns.message.from_wire(await over_udp(port, own)))
                assert not waiting.done()
            assert dns.message.from_wire(await waiting).rcode() == dns.rcode.SERVFAIL

    asyncio.run(story())


def test_a_packet_that_is_none_costs_others_nothing():
    async def story() -> None:
        query = dns.message.make_query("reviews.demo.svc.cluster.local", "A").to_wire()
        async with resolver() as (_, port):
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                for packet in (b"", b"\0", os.urandom(600)):
                    sock.sendto(packet, ("127.0.0.1", port))
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\0\1x")
            writer.close()
            assert addresses(dns.message.from_wire(await over_udp(port, query)))
            assert await over_tcp(port, query)

    asyncio.run(story())


LOOK_UP = """
import json, socket, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = sorted({one[4][0] for one in socket.getaddrinfo(name, 80, socket.AF_INET)})
    except socket.gaierror as error:
        found[name] = error.errno
print(json.dumps(found))
"""


@needs_root
def test_a_program_in_a_captured_namespace_looks_names_up_as_usual(tmp_path):
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        "nameserver 10.96.0.10\nsearch demo.svc.cluster.local svc.cluster.local cluster.local\n"
        "options ndots:5\n"
    )
    asked = ("reviews", "reviews.demo", "crowd", "api.test", "localhost", "gone")

    with Network() as network:
        network.host("a")
        network.capture("a", Capture(dns=True))
        namespace = f"/run/netns/{network.namespace('a')}"
        command = Command(
            command=(sys.executable, "-c", LOOK_UP, *asked),
            network=namespace,
            mounts=((str(conf), "/etc/resolv.conf"),),
        )

        async def story() -> str:
            async with (
                machine(knows) as elsewhere,
                resolver(upstream=(elsewhere,), namespace=namespace, port=15053),
            ):
                return (await asyncio.to_thread(output, command)).decode()

        found = json.loads(asyncio.run(story()))

    assert found == {
        "reviews": ["10.96.0.1"],
        "reviews.demo": ["10.96.0.1"],
        "crowd": sorted(ADDRESSES),
        "api.test": ["192.0.2.1"],
        "localhost": ["127.0.0.1"],
        "gone": socket.EAI_NONAME,
    }
