"""The aggregated discovery service over gRPC: sessions, the server and its sockets."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog

from plait.base.once import Once
from plait.base.tasks import steady, supervise
from plait.config.store import Store
from plait.mesh import ir
from plait.mesh.placement import placement
from plait.serve import callers
from plait.serve.ca.spiffe import Identity
from plait.serve.doors import Certificates, Door, Shown
from plait.serve.feeds import Hub, Plan
from plait.serve.identity import Node
from plait.serve.listening import MEMBERS, OPTIONS, STRANGERS, bind, is_private
from plait.serve.refusals import Refusals
from plait.serve.session import Check, ProxyState, Session
from plait.xds import subscriptions
from plait.xds.wire import Payload, Reader

SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
SLICE = 64
"""Streams served between two turns of the loop."""
_TICK = 0.25  # seconds between two looks at deadlines
_REPORT = 0.01  # seconds between two calls of followers
_SWEEP = 20  # ticks between two sweeps
FIRST = 30.0
"""Seconds within which a client must say who it is."""
_log = structlog.get_logger(__name__)


def _no_more(private: bool) -> Sequence[Any]:  # noqa: FBT001 - see `Ads.serve`
    """No other services."""
    del private
    return ()


class Ads:
    """The discovery service.

    Attributes:
        hub, reader: what sessions share.
        addresses: where it listens, with the ports that were chosen; empty before it does.
        started: set when it listens.
    """

    def __init__(
        self,
        store: Store,
        *,
        place: Callable[..., ir.Placement] = placement,
        plan: Plan = subscriptions,
    ) -> None:
        self.hub = Hub(store, place, plan)
        self.reader = Reader()
        self.addresses: tuple[str, ...] = ()
        self.started = asyncio.Event()
        self._store = store
        self._sessions: dict[Session, None] = {}
        self._dirty: dict[Session, None] = {}
        self._awake = asyncio.Event()
        self._refusals = Refusals(store)
        self._stirred = asyncio.Event()
        self._followers: dict[object, Callable[[], None]] = {}
        self._told = Once()

    async def serve(
        self,
        addresses: Sequence[str],
        more: Callable[[bool], Sequence[Any]] = _no_more,
        doors: Sequence[Door] = (),
        shown: Shown | None = None,
    ) -> None:
        """Serve at each ``host:port`` and ``unix:PATH`` until cancelled.

        Args:
            addresses: for who is on this machine.
            more: makes handlers of other services there; it is told whether their server is
                reached by nobody but our own user.
            doors: with TLS, for others; `shown` is what they show.
            shown: None: there are no doors.

        Raises:
            AddressInUseError: one is taken by another process.
        """
        kinds = {address: is_private(address) for address in addresses}
        plain = {private: self._server(more(private)) for private in sorted(set(kinds.values()))}
        opened = [bind(plain[private], address) for address, private in kinds.items()]
        servers = [*plain.values()]
        for door in doors:
            if shown is not None:
                server, found = self._door(door, shown)
                servers.append(server)
                opened += found
        self.addresses = tuple(opened)
        try:
            for server in servers:  # a start that is cut short leaves a server that cannot be ended
                await asyncio.shield(server.start())
            _log.info("xds open", addresses=self.addresses)
            self.started.set()
            loops = {
                "pump": self._pump,
                "tick": self._tick,
                "refusals": self._refusals.run,
                "report": self._report,
            }
            if shown is not None:
                loops["certificate"] = shown.run
            async with asyncio.TaskGroup() as group:
                for part, loop in loops.items():
                    name = f"ads:{part}"  # our bug must not stop the others
                    group.create_task(supervise(steady(loop), name=name), name=name)
        finally:
            for server in servers:
                await asyncio.shield(server.stop(0.1))
            self.hub.close()

    def _server(self, more: Sequence[Any]) -> Any:
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((_Methods(self, None), *more))
        return server

    def _door(self, door: Door, shown: Shown) -> tuple[Any, list[str]]:
        """A server with TLS, and where it listens."""
        mine = (_Methods(self, shown.certificates),) if door.is_for_members else ()
        server = grpc.aio.server(options=MEMBERS if door.is_for_members else STRANGERS)
        server.add_generic_rpc_handlers((*mine, *door.services))
        credentials = shown.credentials(is_for_members=door.is_for_members)
        return server, [bind(server, address, credentials) for address in door.addresses]

    def check(self, who: Identity, trust_domains: Collection[str]) -> Check:
        """The look at what a client claims that has shown a certificate."""

        def check(node: Node) -> str:
            why = callers.refusal(who, node, trust_domains)
            if why and self._told.say(why):
                _log.warning("stream refused", proxy=node.id[:200], error=why)
            return why

        return check

    def proxies(self) -> tuple[ProxyState, ...]:
        """The connected proxies, by id."""
        states = [state for session in self._sessions if (state := session.state())]
        return tuple(sorted(states, key=lambda state: state.id))

    def sessions(self) -> tuple[Session, ...]:
        """The connected clients, in the order in which they came."""
        return tuple(self._sessions)

    def late(self, revision: int) -> tuple[str, ...]:
        """Ids of the connected proxies that have not acknowledged all up to `revision`."""
        found = [s.node.id for s in self._sessions if s.node and s.delivered < revision]
        return tuple(sorted(found))

    def follow(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call back when proxies came, went or acknowledged something; returns the way to stop.

        One call stands for everything that happened in the hundredth of a second before it.
        """
        token = object()
        self._followers[token] = changed
        return lambda: self._followers.pop(token, None) and None

    def delivered(self) -> int | None:
        """The newest revision that every connected proxy acknowledged; None: there is none."""
        known = [s.delivered for s in self._sessions if s.node is not None]
        return min(known, default=None)

    # The desk of the sessions

    def now(self) -> float:
        """Seconds since some moment; never goes back."""
        return self._store.clock.monotonic()

    def soon(self, session: Session) -> None:
        """Refresh a session when it is its turn."""
        self._dirty[session] = None
        self._awake.set()

    def stir(self) -> None:
        """Note that a client came, went or said something."""
        self._stirred.set()

    def accepted(self, session: Session, type_url: str, payload: Payload) -> None:
        """Remember what a client took."""
        self._refusals.accepted(_id(session), type_url, payload)

    def refused(self, session: Session, type_url: str, payload: Payload, error: str) -> None:
        """Find out what was wrong with it."""
        self._refusals.refused(_id(session), type_url, payload, error)

    @asynccontextmanager
    async def session(
        self, link: _Link, *, delta: bool, check: Check | None = None
    ) -> AsyncIterator[Session]:
        """A client that just connected, until it goes."""
        await self._store.ready.wait()
        session = Session(self, link, delta=delta, check=check)
        self._sessions[session] = None
        try:
            yield session
        finally:
            del self._sessions[session]
            self._dirty.pop(session, None)
            session.close()
            self.stir()

    async def _pump(self) -> None:
        """Refresh those for whom something changed, some at a time."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            turn, self._dirty = self._dirty, {}
            for number, session in enumerate(turn, 1):
                if session in self._sessions:
                    _alone(session, session.refresh)
                if not number % SLICE:
                    await asyncio.sleep(0)

    async def _report(self) -> None:
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            for changed in tuple(self._followers.values()):
                changed()
            await asyncio.sleep(_REPORT)

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(_TICK)
            ticks += 1
            for session in tuple(self._sessions):
                _alone(session, session.tick)
            if not ticks % _SWEEP:
                self.hub.sweep(self.now())
                self._refusals.clean()


class _Link:
    """One gRPC stream: what waits to be written, and why it must end."""

    def __init__(self) -> None:
        self.reason = ""
        self.status = grpc.StatusCode.INVALID_ARGUMENT
        self._ended = False
        self._queue: deque[bytes] = deque()
        self._filled = asyncio.Event()

    def send(self, data: bytes) -> None:
        """Write when the client has taken what was written before."""
        self._queue.append(data)
        self._filled.set()

    def fail(self, reason: str) -> None:
        """End the stream; the client is at fault."""
        self.reason = reason
        self.end()

    def refuse(self, reason: str) -> None:
        """End the stream; the client is not what it says."""
        self.status = grpc.StatusCode.PERMISSION_DENIED
        self.fail(reason)

    def end(self) -> None:
        """Write no more."""
        self._ended = True
        self._filled.set()

    async def write(self, context: Any) -> None:
        """Write what is sent, until the stream must end."""
        while not self._ended:
            while self._queue:
                await context.write(self._queue.popleft())
            self._filled.clear()
            await self._filled.wait()


class _Methods:
    """The two methods of the service, with messages as bytes."""

    def __init__(self, ads: Ads, certificates: Certificates | None) -> None:
        self._handlers = {
            f"{SERVICE}DeltaAggregatedResources": _handler(ads, certificates, delta=True),
            f"{SERVICE}StreamAggregatedResources": _handler(ads, certificates, delta=False),
        }

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call; None: no such method."""
        return self._handlers.get(handler_call_details.method)


def _handler(ads: Ads, certificates: Certificates | None, *, delta: bool) -> Any:
    """One method; with `certificates` clients have shown one."""

    async def converse(_: Any, context: Any) -> None:
        check = None
        if certificates is not None:
            who = callers.caller(context.auth_context().get("peer_uri", ()))
            if who is None:
                told = "the certificate has not one URI, a SPIFFE id, as those of the mesh have"
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, told)
                return
            check = ads.check(who, certificates.trust_domains())
        link = _Link()
        async with ads.session(link, delta=delta, check=check) as session:
            await _converse(session, link, context)
        if link.reason:
            await context.abort(link.status, link.reason)

    return grpc.stream_stream_rpc_method_handler(converse)


async def _converse(session: Session, link: _Link, context: Any) -> None:
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(_read(session, link, context), name="ads:read")
        try:
            await link.write(context)
        except grpc.aio.UsageError:
            pass  # the client is gone
        finally:
            reader.cancel()


async def _read(session: Session, link: _Link, context: Any) -> None:
    try:
        async with asyncio.timeout(FIRST):
            data = await context.read()
    except TimeoutError:
        link.fail(f"nothing was said for {FIRST:.0f} s")
        return
    if data is not grpc.aio.EOF:
        session.receive(data)
        await _read_on(session, context)
    link.end()


async def _read_on(session: Session, context: Any) -> None:
    while (data := await context.read()) is not grpc.aio.EOF:
        session.receive(data)


def _alone(session: Session, act: Callable[[], None]) -> None:
    """A bug that is met through one stream ends that stream, and no other."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - see above
        _log.error("stream failed", error=repr(error), exc_info=error)
        session.fail("an internal error; see the control plane's log")


def _id(session: Session) -> str:
    return session.node.id if session.node else ""
