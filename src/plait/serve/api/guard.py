"""Who may use an API without authentication: some users of this machine, and no web pages."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Self
from urllib.parse import urlsplit

from aiohttp import web

from plait.base import peers
from plait.base.errors import SettingsError
from plait.serve.api import paths
from plait.serve.api.status import StatusError

OPEN: Final = ("/healthz", "/livez", "/readyz")
"""Pages for everybody."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a page of another origin sends: browsers say which it is."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise _forbidden(f'pages of "{origin}" may not use this API')
    return await handler(request)


class Residents:
    """The users of this machine who may do everything at loopback.

    Who may open a Unix socket is told by its mode.

    Args:
        uids: beside our own and root; None: everybody.
    """

    def __init__(self, uids: Collection[int] | None) -> None:
        self._uids = None if uids is None else frozenset((0, os.geteuid(), *uids))

    @classmethod
    def named(cls, users: Collection[str]) -> Self:
        """Of these names or numbers; ``*``: everybody.

        Raises:
            SettingsError: this machine has no user of that name.
        """
        if "*" in users:
            return cls(None)
        try:
            return cls([*map(peers.number, users)])
        except LookupError as error:
            raise SettingsError(f"--api-user: {error}") from error

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let them in, by the names of this machine alone.

        Another name may be one that somebody's DNS points here (DNS rebinding).
        """
        peer = request.transport.get_extra_info("peername") if request.transport else None
        if request.transport and peer:
            name = urlsplit(f"//{request.host}").hostname or ""
            if not is_loopback(name):
                raise _forbidden(f'this API is not "{name}": use 127.0.0.1 or localhost')
            ours = request.transport.get_extra_info("sockname")
            uid = peers.user(ours[:2], peer[:2])
            if request.path not in OPEN:
                self._admit(uid)
            request[paths.USER] = "" if uid is None else peers.name(uid)
        return await handler(request)

    def _admit(self, uid: int | None) -> None:
        if self._uids is not None and uid not in self._uids:
            known = " and ".join(map(peers.name, sorted(self._uids)))
            who = "whoever asks" if uid is None else f"user {peers.name(uid)}"
            raise _forbidden(
                f"this API is for {known}, and not for {who}: start the control plane with "
                f"--api-user NAME, or give tokens (--api-tls)"
            )


def is_loopback(host: str) -> bool:
    """Does a host name or address stay on this machine?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _forbidden(message: str) -> StatusError:
    return StatusError(403, "Forbidden", message)
