"""The aggregated discovery service over gRPC: sessions, the server and its sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import structlog

from plait.base.errors import AddressInUseError
from plait.config.store import Store
from plait.mesh import ir
from plait.mesh.placement import placement
from plait.serve.feeds import Hub, Plan
from plait.serve.refusals import Refusals
from plait.serve.session import ProxyState, Session
from plait.xds import subscriptions
from plait.xds.wire import Payload, Reader

SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
SLICE = 64
"""Streams served between two turns of the loop."""
_TICK = 0.25  # seconds between two looks at deadlines
_REPORT = 0.01  # seconds between two calls of followers
_SWEEP = 20  # ticks between two sweeps
_MESSAGE = 64 * 1024 * 1024  # bytes of a request; a reconnecting Envoy names all it holds
OPTIONS = (
    ("grpc.so_reuseport", 0),
    # A thousand proxies may connect at once: the default refuses them at random.
    ("grpc.server.max_pending_requests", 50_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    ("grpc.max_receive_message_length", _MESSAGE),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 64 * 1024),
    # Envoy pings every 30 s and oftener when told to; that is no attack.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # A client whose machine vanished is noticed within 40 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)
"""Of the gRPC server."""
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

    async def serve(
        self, addresses: Sequence[str], more: Callable[[bool], Sequence[Any]] = _no_more
    ) -> None:
        """Serve at each ``host:port`` and ``unix:PATH`` until cancelled.

        `more` makes handlers of other services; it is told whether their server is reached by
        nobody but our own user.

        Raises:
            AddressInUseError: one is taken by another process.
        """
        doors = [(address, _is_private(address)) for address in addresses]
        kinds = sorted({private for _, private in doors})
        servers = {private: self._server(more(private)) for private in kinds}
        self.addresses = tuple(_bind(servers[private], address) for address, private in doors)
        for server in servers.values():
            await server.start()
        _log.info("xds open", addresses=self.addresses)
        self.started.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(), name="ads:pump")
                group.create_task(self._tick(), name="ads:tick")
                group.create_task(self._refusals.run(), name="ads:refusals")
                group.create_task(self._report(), name="ads:report")
        finally:
            for server in servers.values():
                await asyncio.shield(server.stop(0.1))
            self.hub.close()

    def _server(self, more: Sequence[Any]) -> Any:
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((_Methods(self), *more))
        return server

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
    async def session(self, link: _Link, *, delta: bool) -> AsyncIterator[Session]:
        """A client that just connected, until it goes."""
        await self._store.ready.wait()
        session = Session(self, link, delta=delta)
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

    def __init__(self, ads: Ads) -> None:
        self._handlers = {
            f"{SERVICE}DeltaAggregatedResources": _handler(ads, delta=True),
            f"{SERVICE}StreamAggregatedResources": _handler(ads, delta=False),
        }

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call; None: no such method."""
        return self._handlers.get(handler_call_details.method)


def _handler(ads: Ads, *, delta: bool) -> Any:
    async def converse(_: Any, context: Any) -> None:
        link = _Link()
        async with ads.session(link, delta=delta) as session:
            await _converse(session, link, context)
        if link.reason:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, link.reason)

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
    while (data := await context.read()) is not grpc.aio.EOF:
        session.receive(data)
    link.end()


def _alone(session: Session, act: Callable[[], None]) -> None:
    """A bug that is met through one stream ends that stream, and no other."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - see above
        _log.error("stream failed", error=repr(error), exc_info=error)
        session.fail("an internal error; see the control plane's log")


def _id(session: Session) -> str:
    return session.node.id if session.node else ""


def _is_private(address: str) -> bool:
    """Whether only our own user can reach it: nobody else may enter the socket's directory."""
    if not address.startswith("unix:"):
        return False
    path = Path(address.removeprefix("unix:"))
    _free(path)
    found = path.absolute().parent.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _bind(server: Any, address: str) -> str:
    """Add an address to the server; returns it with the port that was chosen."""
    is_path = address.startswith("unix:")
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        hint = "stop the process that has it, or choose another with --xds"
        raise AddressInUseError(f'cannot listen at "{address}": {hint} ({error})') from error
    return address if is_path else f"{address.rpartition(':')[0]}:{port}"


def _free(path: Path) -> None:
    """Remove a socket that nobody listens at."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise AddressInUseError(f'cannot listen at "unix:{path}": it is a file, remove it')
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise AddressInUseError(
        f'cannot listen at "unix:{path}": another process does. Stop it, or choose another path'
    )
