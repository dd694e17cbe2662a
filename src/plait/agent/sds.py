"""The secret discovery service of one proxy: keys and certificates, changed while it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import grpc
import structlog

from plait.agent.secrets import Secrets
from plait.agent.streams import Answering, until_one_ends
from plait.xds.resource import SECRET
from plait.xds.stream import Action, Refused, Stream
from plait.xds.wire import Malformed

SERVICE: Final = "envoy.service.secret.v3.SecretDiscoveryService"
METHODS: Final = {"DeltaSecrets": True, "StreamSecrets": False}
"""Its methods, and which of them are delta."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
)
_REMEMBERED: Final = 100  # refusals; what is said later is not logged
_log = structlog.get_logger(__name__)


class Sds:
    """Serves secrets on a socket.

    Args:
        socket: where; who may come near is for others to say.
        secrets: what is served.
        proxy: for the log.
        beside: another service on the same socket.
    """

    def __init__(
        self,
        socket: Path,
        secrets: Secrets,
        proxy: str,
        beside: grpc.GenericRpcHandler | None = None,
    ) -> None:
        self._beside = beside
        self._socket = socket
        self._secrets = secrets
        self._proxy = proxy
        self._streams: dict[Stream, None] = {}
        self._heard = asyncio.Event()
        self._told: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            RuntimeError: the socket cannot be made.
        """
        server = grpc.aio.server(options=_OPTIONS)
        handlers = {name: self._handler(delta=delta) for name, delta in METHODS.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if self._beside is not None:
            server.add_generic_rpc_handlers((self._beside,))
        self._socket.unlink(missing_ok=True)
        server.add_insecure_port(f"unix:{self._socket}")
        await server.start()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.shield(server.stop(0.1))

    async def outcome(self, name: str) -> str:
        """Wait until Envoy has answered to a secret; its words if it refused.

        Empty: it took the secret, or does not ask for it now.
        """
        while (found := self._verdict(name)) is None:
            self._heard.clear()
            await self._heard.wait()
        return found

    def _verdict(self, name: str) -> str | None:
        number = self._secrets.number(name)
        for stream in self._streams:
            for channel in stream.channels:
                if name not in channel.topic.names:
                    continue
                if channel.sending or channel.seen < number:
                    return None
                if name in channel.refused:
                    return channel.error[0] if channel.error else "refused"
        return ""

    def _handler(self, *, delta: bool) -> Any:
        async def converse(_: Any, context: Any) -> None:
            error = ""
            try:
                await self._converse(context, delta=delta)
            except* Malformed as group:
                error = str(group.exceptions[0])
            except* (grpc.aio.UsageError, asyncio.InvalidStateError):
                pass  # Envoy is gone
            if error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error)

        return grpc.stream_stream_rpc_method_handler(converse)

    async def _converse(self, context: Any, *, delta: bool) -> None:
        stream = Stream(self._secrets, delta=delta)
        answering = Answering(context, stream, delta=delta)
        changed = asyncio.Event()

        async def follow() -> None:
            while True:
                await changed.wait()
                changed.clear()
                await answering.step(stream.on_changed)

        stop = self._secrets.follow(changed.set)
        self._streams[stream] = None
        try:
            await until_one_ends(answering.listen(self._hear), follow(), name="sds:stream")
        finally:
            stop()
            del self._streams[stream]
            stream.close()
            self._heard.set()

    def _hear(self, actions: list[Action]) -> None:
        """Note what Envoy said; what it refuses is logged once."""
        self._heard.set()
        for action in actions:
            if isinstance(action, Refused):
                for name in action.payload.names:
                    self._tell(name, action.error)

    def _tell(self, name: str, error: str) -> None:
        if (name, error) not in self._told and len(self._told) < _REMEMBERED:
            self._told.add((name, error))
            _log.warning(
                "secret refused", proxy=self._proxy, key=name, type_url=SECRET, error=error
            )
