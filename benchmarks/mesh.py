"""The mesh that the benchmarks use: ServiceEntries with endpoints, every third one with rules.

It is the work of which istiod's figures are known: N services of 10 endpoints on port 80, a
VirtualService (two weighted subsets) and a DestinationRule for every third.  Scoped: a Sidecar
object lets every proxy see 10 services.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

ISTIO = "networking.istio.io/v1"
NAMESPACE = "bench"


def metadata(name: str) -> dict[str, str]:
    """Name and namespace of an object of the mesh."""
    return {"name": name, "namespace": NAMESPACE}


def host(number: int) -> str:
    """Host name of service `number`."""
    return f"svc-{number}.{NAMESPACE}.svc.cluster.local"


def endpoint(number: int, index: int) -> dict[str, Any]:
    """Endpoint `index` of service `number`; its labels put it into subset v1 or v2."""
    unique = number * 16 + index
    address = f"10.{unique >> 16 & 255}.{unique >> 8 & 255}.{unique & 255}"
    return {"address": address, "labels": {"version": f"v{index % 2 + 1}"}, "ports": {"http": 8080}}


def service(number: int, *, endpoints: int = 10) -> dict[str, Any]:
    """ServiceEntry of service `number`."""
    return {
        "apiVersion": ISTIO,
        "kind": "ServiceEntry",
        "metadata": metadata(f"svc-{number}"),
        "spec": {
            "hosts": [host(number)],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "endpoints": [endpoint(number, index) for index in range(endpoints)],
        },
    }


def virtual_service(number: int, *, weight: int = 90) -> dict[str, Any]:
    """VirtualService of service `number`: `weight` to v1, the rest to v2."""
    shares = (("v1", weight), ("v2", 100 - weight))
    return {
        "apiVersion": ISTIO,
        "kind": "VirtualService",
        "metadata": metadata(f"svc-{number}"),
        "spec": {
            "hosts": [host(number)],
            "http": [
                {
                    "route": [
                        {"destination": {"host": host(number), "subset": name}, "weight": share}
                        for name, share in shares
                    ]
                }
            ],
        },
    }


def destination_rule(number: int) -> dict[str, Any]:
    """DestinationRule of service `number`: subsets v1 and v2."""
    subsets = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
    return {
        "apiVersion": ISTIO,
        "kind": "DestinationRule",
        "metadata": metadata(f"svc-{number}"),
        "spec": {"host": host(number), "subsets": subsets},
    }


def scope(count: int = 10) -> dict[str, Any]:
    """Sidecar object that shows `count` services to the whole namespace."""
    hosts = [f"./{host(number)}" for number in range(count)]
    return {
        "apiVersion": ISTIO,
        "kind": "Sidecar",
        "metadata": metadata("default"),
        "spec": {"egress": [{"hosts": hosts}]},
    }


def objects(services: int, *, scoped: bool) -> list[dict[str, Any]]:
    """All objects of the mesh."""
    found: list[dict[str, Any]] = []
    for number in range(services):
        found.append(service(number))
        if number % 3 == 0:
            found += (virtual_service(number), destination_rule(number))
    return [*found, scope()] if scoped else found


def write(directory: Path, services: int, *, scoped: bool) -> None:
    """Write the mesh as JSON documents, one file for every hundred objects."""
    directory.mkdir(parents=True, exist_ok=True)
    found = objects(services, scoped=scoped)
    for start in range(0, len(found), 100):
        items = {"apiVersion": "v1", "kind": "List", "items": found[start : start + 100]}
        (directory / f"mesh-{start:06}.json").write_bytes(msgspec.json.encode(items))
