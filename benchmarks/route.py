"""One weight of one VirtualService changes: from the request to the API to the last proxy.

``python -m benchmarks.route``.  Only the route table may be sent.  The request is a PATCH: its
answer, the commit on the disk and the evaluation are in the time of plait, and not in that of
the bare server, which has the bytes at hand.
"""

from __future__ import annotations

from benchmarks import comparison, mesh, push
from plait.xds.resource import ROUTES

_TITLE = "route: one weight changed, until the last proxy has it"
_ISTIOD = {
    False: {
        "seconds": "4.8-5.3 s (+100 ms)",
        "cpu": "10,000 µs",
        "bytes RouteConfiguration": "2.2 MB in CDS, LDS, RDS",
    },
    True: {
        "seconds": "208-229 ms (+100)",
        "bytes RouteConfiguration": "39 KB in CDS, LDS, RDS",
    },
}


def main() -> None:
    """Print the table."""
    found = comparison.options(_TITLE, rounds=7)
    change = push.Change(
        type_url=ROUTES,
        there=mesh.virtual_service(3, weight=50),
        back=mesh.virtual_service(3),
    )
    table = []
    for scoped in found.scopes:
        table += push.rows(found, change, _ISTIOD[scoped], scoped=scoped)
    comparison.report(_TITLE, found, table)


if __name__ == "__main__":
    main()
