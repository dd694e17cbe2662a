"""The page of a book: asks details and reviews, and shows what it got, failures included."""

from __future__ import annotations

import re
from functools import partial
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote

from examples.bookinfo.services import page, server
from examples.bookinfo.services.server import Answer, Reply, Request, Service

PRODUCT = {
    "id": 0,
    "title": "The Comedy of Errors",
    "description": "Two masters and two servants, each with a twin of the same name whom they have "
    "never met, spend a day in one town. Nobody is who the others take them for; it is "
    "Shakespeare's shortest play, and his most farcical.",
}
PATIENCE = 6.0
"""Seconds that each of the others may take."""

_COOKIE = "user"
_API = "/api/v1/products"


class Peers(NamedTuple):
    """Base URLs of the services that are asked."""

    details: str
    reviews: str
    ratings: str


def answer(service: Service, peers: Peers, request: Request) -> Reply:
    """The page, signing in and out, the JSON under ``/api/v1/products``, and ``/health``."""
    path = request.path
    if path in ("/productpage", "/"):
        return _page(service, peers, request)
    if path.startswith(_API):
        return _api(peers, request)
    if path == "/login" and request.method == "POST":
        return _back(_signed_in(request))
    if path == "/logout":
        return _back("")
    return _small(service, path)


def _small(service: Service, path: str) -> Reply:
    if path == "/health":
        return service.signed({"status": "productpage is healthy"})
    if path == "/static/icon.svg":
        return Reply(page.ICON.encode(), content_type="image/svg+xml")
    return server.not_found()


def user(request: Request) -> str:
    """Who is signed in; empty: nobody."""
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(_COOKIE)
    except CookieError:
        return ""
    return clean(unquote(found.value)) if found else ""


def clean(name: str) -> str:
    """A name that may stand in a header."""
    return re.sub(r"[^A-Za-z0-9_.@ -]", "", name).strip()[:40]


def onward(request: Request) -> dict[str, str]:
    """Headers for the services that are asked because of `request`."""
    headers = server.forwarded(request.headers)
    headers.pop("end-user", None)  # who that is, only the cookie says
    return {**headers, "end-user": name} if (name := user(request)) else headers


def _page(service: Service, peers: Peers, request: Request) -> Reply:
    headers = onward(request)
    shown = page.Shown(
        product=PRODUCT,
        user=user(request),
        service=service,
        details=server.ask(f"{peers.details}/details/0", headers, PATIENCE),
        reviews=server.ask(f"{peers.reviews}/reviews/0", headers, PATIENCE),
    )
    text = page.render(shown).encode()
    never = (("cache-control", "no-store"),)
    return Reply(text, content_type="text/html; charset=utf-8", headers=never)


def _signed_in(request: Request) -> str:
    form = parse_qs(request.body.decode(errors="replace"))
    return clean(form.get("username", [""])[0])


def _back(name: str) -> Reply:
    """To the page, as `name`; empty: as nobody."""
    life = "" if name else "; Max-Age=0"
    cookie = f"{_COOKIE}={quote(name)}; Path=/; HttpOnly; SameSite=Lax{life}"
    return Reply(b"", 303, headers=(("location", "/productpage"), ("set-cookie", cookie)))


def _api(peers: Peers, request: Request) -> Reply:
    """``/api/v1/products``, ``/api/v1/products/0``, and ``…/0/reviews`` and ``…/0/ratings``."""
    parts = request.path.removeprefix(_API).strip("/").split("/")
    match parts:
        case [""]:
            return server.in_json([PRODUCT])
        case ["0"]:
            return _passed(server.ask(f"{peers.details}/details/0", onward(request), PATIENCE))
        case ["0", "reviews"]:
            return _passed(server.ask(f"{peers.reviews}/reviews/0", onward(request), PATIENCE))
        case ["0", "ratings"]:
            return _passed(server.ask(f"{peers.ratings}/ratings/0", onward(request), PATIENCE))
        case _:
            return server.not_found()


def _passed(found: Answer) -> Reply:
    return server.in_json(found.value or {"error": f"unavailable: {found.status}"}, found.status)


if __name__ == "__main__":
    names = Peers._fields
    given = server.options(__doc__, **{name: f"http://{name}:9080" for name in names})
    peers = Peers(*(getattr(given, name) for name in names))
    server.run(partial(answer, Service(given.name, given.version), peers), given)
