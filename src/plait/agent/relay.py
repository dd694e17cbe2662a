"""The control plane as one proxy sees it: relayed while it is there, from the cache while not.

A stream is one or the other from its beginning to its end.  When the control plane goes or comes
back, the proxy's stream is ended; the proxy begins another within a second, at a random moment,
and says what it holds, so it is sent nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import grpc
import structlog

from plait.agent.cache import Cache, Shelves
from plait.agent.streams import Answering, until_one_ends
from plait.agent.tap import Hosts, OnHosts, Tap, Trust
from plait.agent.upstream import METHOD, SERVICE, Door, Upstream, reached
from plait.xds.resource import SECRET
from plait.xds.secrets import ROOTS
from plait.xds.stream import Stream
from plait.xds.wire import Malformed

State = Literal["relaying", "local", "waiting"]
"""Where a proxy's configuration comes from; waiting: nowhere yet, or there is no proxy."""

KEY: Final = "cache.key"
"""Name of the file of the cache's key."""
_TICK: Final = 0.25  # seconds between two looks at deadlines
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Envoy pings every 30 s; that is no attack.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # One proxy has one stream, or for a moment two; who says nothing is sent away.
    ("grpc.max_concurrent_streams", 10),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_metadata_size", 16 * 1024),
)
_log = structlog.get_logger(__name__)


class Relay:
    """What one proxy connects to.

    Args:
        socket: where it does, in a directory that nobody else enters.
        cache: the file that keeps what it last accepted, sealed with a key beside the socket.
        upstream: the control plane: ``host:port``, ``unix:PATH`` or a door.
        on_hosts: told the meaning of all names at the start, if it is known from before, and
            whenever it changes.
        trust: likewise whom to trust; None: nobody asks.
    """

    def __init__(
        self,
        socket: Path,
        cache: Path,
        upstream: str | Door,
        *,
        on_hosts: OnHosts,
        trust: Trust | None = None,
    ) -> None:
        self._socket = socket
        self._file = cache
        self._address = upstream
        self._on_hosts = on_hosts
        self._trust = trust
        self._streams: dict[object, State] = {}
        self._is_lost = False

    @property
    def state(self) -> State:
        """Where the configuration of the newest stream comes from."""
        return next(reversed(self._streams.values()), "waiting")

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            RuntimeError: the socket cannot be made.
        """
        cache = await asyncio.to_thread(Cache, self._file, self._socket.with_name(KEY))
        hosts = Hosts(cache, self._on_hosts)
        known = (cache.known(SECRET) or {}).get(ROOTS)
        if self._trust is not None and known is not None:
            self._trust.take(known.body)
        async with reached(self._address) as upstream:

            async def converse(_: Any, context: Any) -> None:
                await self._converse(context, upstream, cache, hosts)

            handler = grpc.stream_stream_rpc_method_handler(converse)
            server = grpc.aio.server(options=_OPTIONS)
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),)
            )
            self._socket.unlink(missing_ok=True)
            server.add_insecure_port(f"unix:{self._socket}")
            self._socket.chmod(0o666)  # who may come near is decided by the directory
            await server.start()
            try:
                await cache.run()
            finally:
                await asyncio.shield(server.stop(0.1))
                cache.flush()

    async def _converse(self, context: Any, upstream: Upstream, cache: Cache, hosts: Hosts) -> None:
        """Serve one stream to its end."""
        is_up = await upstream.is_up()
        ended: tuple[grpc.StatusCode, str] | None = None
        try:
            if is_up:
                with self._serving("relaying", len(cache)):
                    tap = Tap(cache, hosts, self._trust)
                    await _Relayed(context, upstream.stream(), tap, self._trust).run()
            else:
                with self._serving("local" if len(cache) else "waiting", len(cache)):
                    await _serve(context, cache, upstream.up())
        except* Malformed as group:
            ended = (grpc.StatusCode.INVALID_ARGUMENT, str(group.exceptions[0]))
        except* grpc.aio.AioRpcError as group:
            ended = _status(group.exceptions[0])
        except* (grpc.aio.UsageError, asyncio.InvalidStateError):
            pass  # one side is gone
        if ended is not None:
            await context.abort(*ended)

    @contextmanager
    def _serving(self, state: State, keeping: int) -> Iterator[None]:
        """Note for the time of a stream where its configuration comes from."""
        is_lost = state != "relaying"
        if is_lost and not self._is_lost:
            _log.warning("control plane lost", path=str(self._socket), keeping=keeping)
        elif self._is_lost and not is_lost:
            _log.info("control plane back", path=str(self._socket))
        self._is_lost = is_lost
        token = object()
        self._streams[token] = state
        try:
            yield
        finally:
            del self._streams[token]


class _Relayed:
    """A stream whose messages go through."""

    def __init__(self, context: Any, call: Any, tap: Tap, trust: Trust | None) -> None:
        self._context = context
        self._call = call
        self._tap = tap
        self._trust = trust
        self._nonce = ""  # of the answer that says whom to trust
        self._trusting = asyncio.Event()
        self._turn = asyncio.Lock()  # gRPC takes one message at a time

    async def run(self) -> None:
        """Pass on messages until one side ends the stream."""
        try:
            await until_one_ends(
                self._upward(), self._downward(), self._judge(), name="relay:stream"
            )
        finally:
            self._call.cancel()

    async def _upward(self) -> None:
        """Pass on what the proxy says, until it says no more."""
        is_first = True
        while (data := await self._context.read()) is not grpc.aio.EOF:
            await self._say(self._tap.requested(data))
            if is_first:  # which says who the proxy is
                for question in self._tap.questions():
                    await self._say(question)
            is_first = False

    async def _downward(self) -> None:
        """Pass on what the control plane says, as fast as the proxy takes it."""
        while (data := await self._call.read()) is not grpc.aio.EOF:
            heard = self._tap.answered(data)
            if heard.onward is not None:
                await self._context.write(heard.onward)
            if heard.reply is not None:
                await self._say(heard.reply)
            if heard.nonce:
                self._nonce = heard.nonce
                self._trusting.set()

    async def _judge(self) -> None:
        """Acknowledge whom to trust when the proxy does, for ever."""
        while True:
            await self._trusting.wait()
            self._trusting.clear()
            if self._trust is not None:
                error = await self._trust.outcome()
                await self._say(self._tap.judged(self._nonce, error))

    async def _say(self, data: bytes) -> None:
        async with self._turn:
            await self._call.write(data)


async def _serve(context: Any, cache: Cache, end: Coroutine[Any, Any, None]) -> None:
    """Answer from the cache until the proxy ends the stream, or `end` does."""
    stream = Stream(Shelves(cache), delta=True)
    answering = Answering(context, stream, delta=True)

    async def tick() -> None:
        while True:
            await asyncio.sleep(_TICK)
            await answering.step(stream.on_tick)

    await until_one_ends(answering.listen(), tick(), end, name="relay:stream")


def _status(error: Any) -> tuple[grpc.StatusCode, str]:
    return error.code(), error.details() or ""
