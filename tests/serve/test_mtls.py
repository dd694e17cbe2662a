"""Who calls in plain text, as the page tells it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from plait.base import place as places
from plait.base.place import Place, PlainCaller, PlainCallers
from plait.serve import mtls
from plait.xds.resource import LISTENER
from tests.support.mesh import stamp
from tests.support.served import serving
from tests.support.xds_client import connected, node

BEGUN = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # see `stamp`
SERVER = "sidecar~10.0.0.1~web-1.demo~demo.svc.cluster.local"


def pod(name: str, created: int, address: str = "10.0.0.9") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: demo, creationTimestamp: '{stamp(created)}'}}
spec: {{containers: [{{name: a, image: a}}]}}
status: {{podIP: {address}}}
"""


def named(directory: Path, last: float, *pods: str) -> list[str]:
    """Whom the page calls the caller at 10.0.0.9 that called at `last`."""
    place = Place(directory)
    note = place.plaintext(places.identifier("demo", "web-1"))
    note.parent.mkdir(parents=True)
    caller = PlainCaller(address="10.0.0.9", port=8080, first=0.0, last=last)
    places.write(note, PlainCallers(since=0.0, callers=(caller,)))

    async def main() -> list[str]:
        async with serving() as plane:
            await plane.put(*pods)
            about = node(SERVER, PLAIT_SDS="true")
            async with connected(plane.address, node=about) as client:
                await client.subscribe(LISTENER)
                await client.has(LISTENER, "virtualInbound")
                (port,) = mtls.page(plane.store, plane.ads.sessions(), place)
        return [one.name for one in port.callers]

    return asyncio.run(main())


def test_a_caller_is_the_pod_that_had_the_address_when_it_called(tmp_path: Path):
    then, later = pod("then", 0), pod("later", 100)

    assert named(tmp_path / "a", BEGUN + 50, then, later) == ["demo/then"]
    assert named(tmp_path / "b", BEGUN + 150, then, later) == ["demo/later"]
    assert named(tmp_path / "c", BEGUN + 50, later) == [""]
