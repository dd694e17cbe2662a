"""Of a cluster or listener: what is spoken, and which object says so, as a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plait.base.query import Call, Engine, Failed
from plait.config.meta import Key
from plait.mesh import ends
from plait.mesh.security import Mode
from plait.xds import clusters, listeners

Locate = Callable[[Key], str]
"""Where an object is written; empty: nowhere."""


def told(engine: Engine, call: Call, locate: Locate) -> dict[str, Any]:
    """The members ``caller`` and ``servers`` of a cluster's page, ``ports`` of a listener's.

    Empty: calls of the resource are not those between workloads.  `call` is the query that makes
    the resource.
    """
    query, arguments = call
    if query is clusters.outbound:
        both = engine.attempt(ends.of_cluster, *arguments)
        if both is None or isinstance(both, Failed):
            return {}
        servers = [_group(group, locate) for group in both.groups]
        return {"caller": _caller(both.caller, locate), "servers": servers}
    if query is listeners.inbound_listener:
        ports = engine.attempt(ends.of_listener, *arguments)
        return {} if isinstance(ports, Failed) else {"ports": [_port(p, locate) for p in ports]}
    return {}


def _caller(caller: ends.Caller, locate: Locate) -> dict[str, Any]:
    because = caller.because or (
        "automatic: no DestinationRule says how to call it" if caller.by is None else ""
    )
    return {
        "speaks": caller.speaks or "nothing",
        "automatic": caller.automatic,
        "mode": caller.mode,
        **_by(caller.by, caller.path, locate),
        "because": because,
    }


def _group(group: ends.Group, locate: Locate) -> dict[str, Any]:
    found = {
        "workload": group.workload,
        "namespace": group.namespace,
        "endpoints": group.count,
        "speaks": group.speaks or "nothing",
        "sidecar": group.able,
    }
    if group.port is None:
        return {**found, "because": "it is outside the mesh"}
    return {**found, **_port(group.port, locate), "problem": _problem(group.speaks, group.port)}


def _problem(speaks: str, port: ends.Port) -> str:
    """What will not work though both ends are as somebody wrote; empty: it will."""
    if speaks in (ends.PLAIN, ends.TLS) and port.mode == Mode.STRICT.value:
        return "refused: the port takes mutual TLS alone"
    if speaks == ends.MUTUAL and port.mode == Mode.DISABLE.value:
        return "the proxy decrypts nothing: the application gets what comes"
    return ""


def _port(port: ends.Port, locate: Locate) -> dict[str, Any]:
    because = "" if port.by else "the default: no PeerAuthentication says otherwise"
    if not port.mode:
        because = "the workload has no identity, so no caller is asked"
    return {
        "port": port.number,
        "mode": port.mode or "DISABLE",
        **_by(port.by, port.path, locate),
        "because": because,
    }


def _by(key: Key | None, path: str, locate: Locate) -> dict[str, str]:
    if key is None:
        return {"by": "", "path": "", "locator": ""}
    return {"by": str(key), "path": path, "locator": locate(key)}
