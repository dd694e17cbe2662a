"""Ports as Istio's Gateway, Sidecar and ServiceEntry write them."""

from __future__ import annotations

from msgspec import Struct

from plait.config.kinds.units import Count


class Port(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A port with its protocol.

    Attributes:
        protocol: HTTP, HTTP2, GRPC, GRPC-WEB, HTTPS, TLS, TCP, UDP, MONGO, …, in any case.
        target_port: port of the endpoints; 0: the same number.
    """

    number: Count = 0
    protocol: str = ""
    name: str = ""
    target_port: Count = 0
