"""Connections to an HTTP server, bounded in number and in the time until they ask."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from msgspec import Struct

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Limits(Struct, frozen=True, kw_only=True):
    """What a server bears.

    Attributes:
        most: connections at once.
        waiting: those of them that have not asked for anything yet.
        patience: seconds until they must have: the headers of the first request are there.
        idle: seconds that a connection is kept after an answer.
    """

    most: int = 2048
    waiting: int = 512
    patience: float = 10.0
    idle: float = 75.0


class Crowd:
    """The connections of one server.

    Who is in the way is sent away: first who has waited longest without asking, then who has
    rested longest after an answer.  Who is being answered is never interrupted.

    Args:
        limits: what the server bears.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._all: set[Guest] = set()
        self._waiting: dict[Guest, asyncio.TimerHandle] = {}
        self._resting: dict[Guest, None] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._all)

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Goes first among an application's middlewares: notes who asks."""
        guest: Any = request.protocol
        self._ask(guest)
        try:
            return await handler(request)
        finally:
            if guest in self._all:
                self._resting[guest] = None

    def factory(self, runner: web.AppRunner) -> Callable[[], Guest]:
        """Makes the protocol of each connection to a server that is set up."""
        server, loop = runner.server, asyncio.get_running_loop()
        if server is None:
            raise RuntimeError("the runner is not set up")
        limits = self._limits
        return lambda: Guest(
            self, server, loop=loop, access_log=None, keepalive_timeout=limits.idle
        )

    def enter(self, guest: Guest) -> None:
        """A connection is there."""
        if len(self._all) >= self._limits.most:
            away = next(iter(self._waiting), None) or next(iter(self._resting), None) or guest
            away.dismiss()
            self.leave(away)
            if away is guest:
                return
        self._all.add(guest)
        later = asyncio.get_running_loop().call_later
        self._waiting[guest] = later(self._limits.patience, guest.dismiss)
        if len(self._waiting) > self._limits.waiting:
            next(iter(self._waiting)).dismiss()
            self.leave(next(iter(self._waiting)))

    def leave(self, guest: Guest) -> None:
        """A connection is gone, or as good as gone."""
        self._all.discard(guest)
        self._ask(guest)

    def _ask(self, guest: Guest) -> None:
        timer = self._waiting.pop(guest, None)
        if timer is not None:
            timer.cancel()
        self._resting.pop(guest, None)


class Guest(web.RequestHandler):
    """One connection, as a crowd knows it."""

    __slots__ = ("_crowd",)

    def __init__(self, crowd: Crowd, server: Any, **options: Any) -> None:
        super().__init__(server, **options)
        self._crowd = crowd

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        super().connection_made(transport)
        self._crowd.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._crowd.leave(self)
        super().connection_lost(exc)

    def dismiss(self) -> None:
        """End at once, whatever is on its way."""
        transport: Any = self.transport
        if transport is not None:
            transport.abort()


def allow_files() -> None:
    """Have as many sockets as we may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
