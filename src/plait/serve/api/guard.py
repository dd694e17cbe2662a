"""What keeps web pages in a browser on this machine away from an API without authentication."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from plait.serve.api.status import StatusError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a page of another origin sends: browsers say which it is."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise _forbidden(f'pages of "{origin}" may not use this API')
    return await handler(request)


@web.middleware
async def named_as_loopback(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse names that somebody else's DNS points at this machine (DNS rebinding)."""
    by_ip = bool(request.transport and request.transport.get_extra_info("peername"))
    name = urlsplit(f"//{request.host}").hostname or ""
    if by_ip and not is_loopback(name):
        raise _forbidden(f'this API is not "{name}": use 127.0.0.1 or localhost')
    return await handler(request)


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
