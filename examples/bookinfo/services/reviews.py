"""What people say of a book: v1 without stars, v2 with black ones, v3 with red ones."""

from __future__ import annotations

from functools import partial
from typing import Any

from examples.bookinfo.services import server
from examples.bookinfo.services.server import Reply, Request, Service

TEXTS = {
    "Reviewer1": "Two pairs of twins, one town, no phones. I laughed until the last abbess.",
    "Reviewer2": "Everybody is mistaken for somebody else. Much like my packets before the mesh.",
}
COLORS = {"v2": "black", "v3": "red"}
"""Of the stars, by version; others ask nobody for ratings."""

PATIENCE = 10.0
"""Seconds that ratings may take: more than productpage gives to the reviews."""


def answer(service: Service, ratings: str, request: Request) -> Reply:
    """``/reviews/NUMBER`` and ``/health``; `ratings` is the base URL of that service."""
    if request.path == "/health":
        return service.signed({"status": "reviews is healthy"})
    number = server.product_id(request, "/reviews")
    if number is None:
        return server.not_found()
    color = COLORS.get(service.version)
    given = (
        server.ask(f"{ratings}/ratings/{number}", server.forwarded(request.headers), PATIENCE)
        if color
        else None
    )
    reviews = [
        {"reviewer": who, "text": text, **_rating(who, color, given)} for who, text in TEXTS.items()
    ]
    by = given.value["servedBy"] if given and given.is_good else None
    return service.signed({"id": str(number), "ratingsBy": by, "reviews": reviews})


def _rating(who: str, color: str | None, given: server.Answer | None) -> dict[str, Any]:
    if given is None:
        return {}
    if not given.is_good:
        return {"rating": {"error": f"ratings are unavailable: {given.status}"}}
    return {"rating": {"stars": given.value["ratings"].get(who, 0), "color": color}}


if __name__ == "__main__":
    given = server.options(__doc__, ratings="http://ratings:9080")
    server.run(partial(answer, Service(given.name, given.version), given.ratings), given)
