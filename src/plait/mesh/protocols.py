"""Which application protocol a port speaks, told from how it is declared."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from plait.mesh.ir import Protocol

_BY_NAME: Final = MappingProxyType(
    {
        "http": Protocol.HTTP,
        "http2": Protocol.HTTP2,
        "grpc": Protocol.GRPC,
        "grpc-web": Protocol.HTTP,
        "http_proxy": Protocol.HTTP,
        "https": Protocol.HTTPS,
        "tls": Protocol.TLS,
        "tcp": Protocol.TCP,
        "udp": Protocol.UDP,
        "mongo": Protocol.TCP,
        "redis": Protocol.TCP,
        "mysql": Protocol.TCP,
        "kubernetes.io/h2c": Protocol.HTTP2,
        "kubernetes.io/ws": Protocol.HTTP,
        "kubernetes.io/wss": Protocol.HTTPS,
    }
)

_SERVER_FIRST: Final = frozenset({25, 53, 3306, 27017})
"""Ports where the server speaks first, or clients speak what looks like nothing we know."""


def named(written: str) -> Protocol:
    """The protocol that `written` names, in any case; AUTO for what is not known."""
    return _BY_NAME.get(written.lower(), Protocol.AUTO)


def of_service_port(name: str, number: int, transport: str, declared: str) -> Protocol:
    """The protocol of a Service's port (Istio's rule).

    `transport` UDP decides; then `declared` (``appProtocol``) if there is one, else the name, each
    up to its first dash; where that says nothing it is TCP on ports where servers speak first, and
    detected everywhere else.
    """
    if transport != "TCP":
        return Protocol.UDP
    said = (declared or name).lower()
    if said.startswith("grpc-web"):
        return Protocol.HTTP
    if (found := named(said.partition("-")[0])) is not Protocol.AUTO:
        return found
    return Protocol.TCP if number in _SERVER_FIRST else Protocol.AUTO


def of_entry_port(name: str, number: int, declared: str) -> Protocol:
    """The protocol of a ServiceEntry's port: declared, or told as for a Service."""
    return of_service_port(name, number, "TCP", declared)
