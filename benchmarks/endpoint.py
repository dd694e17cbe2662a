"""One endpoint of one service goes: from the request to the API to the last proxy.

``python -m benchmarks.endpoint``.  The request is a PATCH of the ServiceEntry: its answer, the
commit on the disk and the evaluation are in the time of plait, and not in that of the bare
server, which has the bytes at hand.
"""

from __future__ import annotations

from benchmarks import comparison, mesh, push
from plait.xds.resource import ENDPOINTS

_TITLE = "endpoint: one endpoint removed, until the last proxy has it"
_ISTIOD = {
    False: {"seconds": "113-139 ms (+100)", "bytes ClusterLoadAssignment": "1,000 B"},
    True: {"seconds": "30-41 ms (+100)"},
}


def main() -> None:
    """Print the table."""
    found = comparison.options(_TITLE, rounds=15)
    change = push.Change(
        type_url=ENDPOINTS, there=mesh.service(4, endpoints=9), back=mesh.service(4)
    )
    table = []
    for scoped in found.scopes:
        table += push.rows(found, change, _ISTIOD[scoped], scoped=scoped)
    comparison.report(_TITLE, found, table)


if __name__ == "__main__":
    main()
