"""Istio objects for end-to-end tests, as documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

API = "networking.istio.io/v1"


def document(
    kind: str, name: str, spec: Mapping[str, Any], namespace: str = "default"
) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(spec),
    }


def host(name: str) -> str:
    return f"{name}.default.svc.cluster.local"


def entry(
    name: str,
    endpoints: Sequence[tuple[str, str]],
    *,
    port: int = 9080,
    protocol: str = "HTTP",
    target: int | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A ServiceEntry of endpoints (address, version)."""
    found = [{"address": a, "labels": {"app": name, "version": v}} for a, v in endpoints]
    listed = {"number": port, "name": "main", "protocol": protocol}
    return document(
        "ServiceEntry",
        name,
        {
            "hosts": [host(name)],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [listed | ({"targetPort": target} if target else {})],
            "endpoints": found,
            **spec,
        },
    )


def rule(name: str, *versions: str) -> dict[str, Any]:
    """A DestinationRule with a subset for each version."""
    subsets = [{"name": version, "labels": {"version": version}} for version in versions]
    return document("DestinationRule", name, {"host": host(name), "subsets": subsets})


def to(
    name: str, subset: str = "", weight: int | None = None, port: int | None = None
) -> dict[str, Any]:
    destination: dict[str, Any] = {"host": host(name)} | ({"subset": subset} if subset else {})
    destination |= {"port": {"number": port}} if port else {}
    share = {} if weight is None else {"weight": weight}
    return {"destination": destination, **share}


def weights(name: str, *, port: int | None = None, **shares: int) -> dict[str, Any]:
    """A route by weight."""
    return {"route": [to(name, subset, share, port) for subset, share in shares.items()]}


def virtual_service(
    name: str, *http: Mapping[str, Any], hosts: Sequence[str] | None = None, **spec: Any
) -> dict[str, Any]:
    found = {"hosts": list(hosts or [host(name)]), **({"http": list(http)} if http else {})}
    return document("VirtualService", name, {**found, **spec})


def gateway(name: str, *ports: tuple[int, str], hosts: Sequence[str] = ("*",)) -> dict[str, Any]:
    """A Gateway for proxies with the label ``istio: ingressgateway``."""
    servers = [
        {
            "port": {"number": number, "name": f"p{number}", "protocol": protocol},
            "hosts": list(hosts),
        }
        for number, protocol in ports
    ]
    return document("Gateway", name, {"selector": {"istio": "ingressgateway"}, "servers": servers})


def peers(mode: str, namespace: str = "default") -> dict[str, Any]:
    """The PeerAuthentication of a namespace."""
    found = document("PeerAuthentication", "default", {"mtls": {"mode": mode}}, namespace)
    return {**found, "apiVersion": "security.istio.io/v1"}


def for_user(user: str) -> list[dict[str, Any]]:
    """The match on Istio's favourite header."""
    return [{"headers": {"end-user": {"exact": user}}}]
