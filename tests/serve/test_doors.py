"""The discovery service's doors to other machines, over real TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from plait.base.clock import ManualClock, WallClock
from plait.base.errors import SettingsError
from plait.serve import doors
from plait.serve.doors import Door, Pair, Shown
from plait.xds import protos
from plait.xds.resource import CLUSTER, PREFIX
from tests.support import mesh
from tests.support.api_server import until
from tests.support.authority import Authority, credentials, spiffe
from tests.support.served import Plane, serving
from tests.support.xds_client import SERVICE, connected, node

REVIEWS = "outbound|9080||reviews.demo.svc.cluster.local"
MEMBERS = Door(addresses=("127.0.0.1:0",), is_for_members=True)
OURS = spiffe("demo")


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(bounded())


@asynccontextmanager
async def mutual(authority: Authority, *more: Door) -> AsyncIterator[tuple[Plane, str, Shown]]:
    """A control plane, the address of its door for members, and what it shows."""
    shown = Shown(authority, ("plane.example",), WallClock())
    async with serving("127.0.0.1:0", doors=(MEMBERS, *more), shown=shown) as plane:
        await plane.put(mesh.service("reviews", "http:9080", ip="10.96.0.1"))
        yield plane, plane.ads.addresses[1], shown


async def outcome(address: str, shown: Any, claimed: Any) -> grpc.StatusCode | None:
    """How a stream ends that asks for clusters; None: it is served."""
    async with connected(address, node=claimed, credentials=shown) as client:
        try:
            await client.subscribe(CLUSTER)
        except grpc.aio.AioRpcError as error:
            return error.code()
        await until(lambda: client.ended.is_set() or client.versions.get(CLUSTER), "an answer")
        return client.error.code() if client.error else None


def test_a_certificate_is_for_where_the_doors_are_and_what_the_operator_says():
    addresses = ("10.0.0.1:15012", "[fd00::1]:15013", "0.0.0.0:15443", "plane:1", "unix:/api.sock")
    with capture_logs() as logs:
        found = doors.names((), addresses)
        named = doors.names(("plane.example",), ("[::]:15012",))

    assert found == ("10.0.0.1", "fd00::1", "plane")
    assert named == ("plane.example",)
    assert [(one["event"], one["addresses"]) for one in logs] == [
        ("doors without a name: give --xds-name", ["0.0.0.0"])
    ]


def test_a_member_is_served_as_what_its_certificate_says():
    async def story() -> None:
        authority = Authority()
        async with mutual(authority) as (plane, address, _):
            key = credentials(authority.root(), authority.client(OURS))
            async with connected(address, node=node(NAMESPACE="demo"), credentials=key) as client:
                await client.subscribe(CLUSTER)
                await client.has(CLUSTER, REVIEWS)
                (state,) = plane.ads.proxies()

        assert state.namespace == "demo"

    run(story)


def test_a_member_of_a_former_trust_domain_is_served_until_it_is_renewed():
    async def story() -> None:
        authority = Authority(trust_domain="mesh.example")
        authority.aliases = ("cluster.local",)
        async with mutual(authority) as (_, address, _):
            key = credentials(authority.root(), authority.client(OURS))
            assert await outcome(address, key, node(NAMESPACE="demo")) is None

    run(story)


@pytest.mark.parametrize(
    "claimed",
    [
        node(NAMESPACE="bank"),
        node("sidecar~10.0.0.1~client-1.bank~bank.svc.cluster.local"),
        node(NAMESPACE="demo", SERVICE_ACCOUNT="admin"),
        node(NAMESPACE="b" * 1_000_000),
        None,
    ],
    ids=["namespace", "id", "account", "megabyte", "nothing"],
)
def test_a_member_that_claims_another_node_is_refused(claimed: Any):
    async def story() -> None:
        authority = Authority()
        async with mutual(authority) as (plane, address, _):
            key = credentials(authority.root(), authority.client(OURS))
            assert await outcome(address, key, claimed) is grpc.StatusCode.PERMISSION_DENIED
            assert plane.ads.proxies() == ()

    run(story)


def test_a_refusal_is_logged_once(capsys: pytest.CaptureFixture[str]):
    async def story() -> None:
        authority = Authority()
        async with mutual(authority) as (_, address, _):
            key = credentials(authority.root(), authority.client(OURS))
            for _ in range(3):
                await outcome(address, key, node(NAMESPACE="bank"))

    run(story)

    assert capsys.readouterr().out.count("stream refused") == 1


@pytest.mark.parametrize("delta", [True, False])
def test_a_member_that_claims_another_node_later_on_is_refused(delta: bool):
    async def story() -> None:
        authority = Authority()
        async with mutual(authority) as (_, address, _):
            key = credentials(authority.root(), authority.client(OURS))
            mine = node(NAMESPACE="demo")
            async with connected(address, node=mine, credentials=key, delta=delta) as client:
                await client.subscribe(CLUSTER)
                await client.has(CLUSTER, REVIEWS)
                cls = protos.DeltaDiscoveryRequest if delta else protos.DiscoveryRequest
                await client.request(cls(node=node(NAMESPACE="bank")), CLUSTER)
                await client.ended.wait()

        assert client.error is not None
        assert client.error.code() is grpc.StatusCode.PERMISSION_DENIED

    run(story)


def test_who_shows_no_certificate_of_the_mesh_does_not_get_in():
    async def story() -> None:
        authority, other = Authority(), Authority("other")
        strangers: list[Pair | None] = [
            None,
            other.client(OURS),
            authority.client(OURS, expired=True),
        ]
        async with mutual(authority) as (plane, address, _):
            for pair in strangers:
                key = credentials(authority.root(), pair)
                found = await outcome(address, key, node(NAMESPACE="demo"))
                assert found is grpc.StatusCode.UNAVAILABLE
            for uris, dns in (
                ((), ()),
                ((OURS, spiffe("bank")), ()),
                ((spiffe("demo", domain="else.where"),), ()),
                ((), (OURS,)),
            ):
                key = credentials(authority.root(), authority.client(*uris, dns=dns))
                found = await outcome(address, key, node(NAMESPACE="demo"))
                assert found is grpc.StatusCode.PERMISSION_DENIED
            assert plane.ads.proxies() == ()

    run(story)


def test_the_door_for_joining_has_no_discovery_service():
    async def answer(data: bytes, context: Any) -> bytes:
        return data + bytes(context.auth_context().get("x509_pem_cert", [b" none"])[0])

    method = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
    handlers = {"CreateCertificate": grpc.unary_unary_rpc_method_handler(answer)}
    service = grpc.method_handlers_generic_handler(method.split("/")[1], handlers)
    join = Door(addresses=("127.0.0.1:0",), is_for_members=False, services=(service,))

    async def story() -> None:
        authority = Authority()
        async with mutual(authority, join) as (plane, _, _):
            address, key = plane.ads.addresses[2], credentials(authority.root())
            async with grpc.aio.secure_channel(address, key) as channel:
                assert await channel.unary_unary(method)(b"hello") == b"hello none"
                with pytest.raises(grpc.aio.AioRpcError) as too_much:
                    await channel.unary_unary(method)(bytes(100_000))
                call = channel.stream_stream(SERVICE + "DeltaAggregatedResources")()
                assert await call.code() is grpc.StatusCode.UNIMPLEMENTED

        assert too_much.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(story)


def presented(address: str, trusted: str, name: str) -> Any:
    """The certificate that a server shows to who knows it under `name`."""
    context = ssl.create_default_context(cadata=trusted)
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as sock,
    ):
        return sock.getpeercert()


def test_the_server_has_the_names_it_was_given_and_istios():
    async def story() -> None:
        authority = Authority()
        join = Door(addresses=("127.0.0.1:0",), is_for_members=False)
        async with mutual(authority, join) as (plane, _, _):
            address = plane.ads.addresses[2]
            for name in ("plane.example", "istiod.istio-system.svc", "localhost", "127.0.0.1"):
                await asyncio.to_thread(presented, address, authority.root(), name)
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.to_thread(presented, address, authority.root(), "else.where")

    run(story)


def test_the_server_is_known_where_the_authority_names_its_key_in_its_own_way():
    async def story() -> None:
        authority = Authority(identifier=b"by another rule")
        join = Door(addresses=("127.0.0.1:0",), is_for_members=False)
        async with mutual(authority, join) as (plane, _, _):
            address = plane.ads.addresses[2]
            assert await asyncio.to_thread(presented, address, authority.root(), "localhost")

    run(story)


def test_certificates_and_roots_are_renewed_under_open_streams(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doors, "LOOK", 0.01)

    async def story() -> None:
        authority, second = Authority(), Authority("second")
        async with mutual(authority) as (plane, address, shown):
            old = credentials(authority.root(), authority.client(OURS))
            async with connected(address, node=node(NAMESPACE="demo"), credentials=old) as client:
                await client.subscribe(CLUSTER)
                await client.has(CLUSTER, REVIEWS)
                before = shown.pair
                authority.more.append(second.root())
                await until(lambda: shown.pair != before, "another certificate")
                new = credentials(authority.root(), second.client(OURS))
                assert await outcome(address, new, node(NAMESPACE="demo")) is None
                await plane.put(mesh.service("ratings", "http:9080", ip="10.96.0.2"))
                await client.has(CLUSTER, REVIEWS.replace("reviews", "ratings"))

            assert not client.error

    run(story)


def test_a_certificate_is_renewed_at_half_of_its_life(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doors, "LOOK", 0.001)

    async def story() -> None:
        authority, clock = Authority(), ManualClock(WallClock().now())
        shown = Shown(authority, (), clock)
        looks: list[str] = []

        def roots() -> str:
            looks.append(shown.roots)
            return shown.roots

        monkeypatch.setattr(authority, "roots", roots)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(shown.run())
            clock.advance(11 * 3600)
            await until(lambda: len(looks) > 2, "some looks")
            early = authority.given
            clock.advance(2 * 3600)
            await until(lambda: authority.given > early, "another certificate")
            task.cancel()

        assert (early, authority.given) == (1, 2)

    run(story)


def test_a_certificate_that_cannot_be_renewed_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doors, "LOOK", 0.001)

    async def story() -> None:
        authority, clock = Authority(), ManualClock(WallClock().now())
        shown = Shown(authority, (), clock)
        before = shown.pair
        asked: list[object] = []

        def fails(names: object) -> Pair:
            asked.append(names)
            raise OSError("the key cannot be read")

        monkeypatch.setattr(authority, "server_certificate", fails)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(shown.run())
            clock.advance(13 * 3600)
            await until(lambda: len(asked) > 2, "some tries")
            task.cancel()

        assert shown.pair == before

    run(story)


@pytest.mark.parametrize("address", ["0.0.0.0:15010", "[::]:15010", "192.0.2.7:15010", "a.b:1"])
def test_plain_text_for_other_machines_must_be_asked_for(address: str):
    with pytest.raises(SettingsError, match=r"--xds-tls.*--insecure-xds"):
        doors.see_plain(("127.0.0.1:15010", address), insecure=False)

    doors.see_plain((address,), insecure=True)


def test_loopback_and_sockets_are_open_to_who_is_here():
    doors.see_plain(("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/a"), insecure=False)


def test_no_key_is_in_what_is_printed():
    pair = Authority().client(OURS)

    assert "PRIVATE" not in repr(pair)
    assert PREFIX not in repr(pair)
