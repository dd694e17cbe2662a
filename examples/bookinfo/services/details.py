"""Facts about a book."""

from __future__ import annotations

from functools import partial

from examples.bookinfo.services import server
from examples.bookinfo.services.server import Reply, Request, Service

BOOK = {
    "author": "William Shakespeare",
    "year": 1594,
    "type": "paperback",
    "pages": 112,
    "publisher": "Loopback Press",
    "language": "English",
    "ISBN-10": "0127000001",
    "ISBN-13": "978-0127000001",
}


def answer(service: Service, request: Request) -> Reply:
    """``/details/NUMBER`` and ``/health``."""
    if request.path == "/health":
        return service.signed({"status": "details is healthy"})
    number = server.product_id(request, "/details")
    return server.not_found() if number is None else service.signed({"id": number, **BOOK})


if __name__ == "__main__":
    given = server.options(__doc__)
    server.run(partial(answer, Service(given.name, given.version)), given)
