"""``plait serve`` with two faults of ours planted, for tests of what they do to others.

A route for the path ``/planted`` is encoded so that Envoy refuses it; the routes of a
VirtualService that has the annotation ``planted`` raise.

Run as ``python -m tests.support.planted serve …``.
"""

from __future__ import annotations

from typing import Any

from plait.mesh import ir, routes, virtual_hosts
from plait.xds import routes as encoders

sound_routes, sound_route = routes.routes, encoders.encode_route


def planted_routes(q: Any, context: Any) -> Any:
    found = q.row("VirtualService", context.key)
    if found is not None and "planted" in found.annotations:
        raise RuntimeError("planted in the routes")
    return sound_routes(q, context)


def planted_route(route: ir.Route, *, inbound: bool) -> Any:
    message = sound_route(route, inbound=inbound)
    if route.match.path == ir.Prefix("/planted"):
        message.match.safe_regex.regex = "("
    return message


routes.routes = planted_routes
virtual_hosts.routes = planted_routes  # type: ignore[attr-defined]
encoders.encode_route = planted_route


if __name__ == "__main__":
    from plait.ui.cli.main import main

    main(prog_name="plait")
