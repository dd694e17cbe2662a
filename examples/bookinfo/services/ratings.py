"""Stars that reviewers gave."""

from __future__ import annotations

from functools import partial

from examples.bookinfo.services import server
from examples.bookinfo.services.server import Reply, Request, Service

RATINGS = {"Reviewer1": 5, "Reviewer2": 4}


def answer(service: Service, request: Request) -> Reply:
    """``/ratings/NUMBER`` and ``/health``."""
    if request.path == "/health":
        return service.signed({"status": "ratings is healthy"})
    number = server.product_id(request, "/ratings")
    return (
        server.not_found() if number is None else service.signed({"id": number, "ratings": RATINGS})
    )


if __name__ == "__main__":
    given = server.options(__doc__)
    server.run(partial(answer, Service(given.name, given.version)), given)
