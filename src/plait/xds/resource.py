"""What a proxy is sent: resources made of children, and the answer to a subscription."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from plait.base.digest import digest
from plait.config.meta import Key

PREFIX = "type.googleapis.com/"
CLUSTER = PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = PREFIX + "envoy.config.listener.v3.Listener"
ROUTES = PREFIX + "envoy.config.route.v3.RouteConfiguration"
EXTENSION = PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
SECRET = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
HOSTS = PREFIX + "envoy.data.dns.v3.DnsTable"
"""What names mean: for the agent's resolver, never asked for by Envoy itself."""

PUSH_ORDER = (CLUSTER, ENDPOINTS, LISTENER, ROUTES, EXTENSION, SECRET, HOSTS)
"""Make before break: what is pointed to is sent before what points to it."""


class Child(Struct, frozen=True, kw_only=True, gc=False):
    """The smallest part that Envoy can accept or refuse: a virtual host, a chain, a cluster.

    Attributes:
        name: unique inside its resource.
        digest: of `body`; what a `Rejection` names.
        body: the serialised protobuf message.
        origin: the objects it was made from, most specific first.
    """

    name: str
    digest: str
    body: bytes
    origin: tuple[Key, ...] = ()


class Resource(Struct, frozen=True, kw_only=True):
    """One xDS resource: a frame and the children that stand in one repeated field of it.

    Attributes:
        version: digest of all of it: equal on all replicas and after a restart.
        frame: the serialised message without its children.
        field: number of the repeated field that holds the children; 0: the only child is the
            whole message, and there is no frame.
        tables: route tables that a listener asks for before it is in force.
    """

    type_url: str
    name: str
    version: str
    frame: bytes
    field: int
    children: tuple[Child, ...]
    tables: tuple[str, ...] = ()

    @property
    def body(self) -> bytes:
        """The serialised message, joined anew at each call."""
        if not self.field:
            return self.children[0].body
        tag = varint(self.field << 3 | 2)
        parts = [self.frame]
        for child in self.children:
            parts += (tag, varint(len(child.body)), child.body)
        return b"".join(parts)


def leaf(type_url: str, child: Child) -> Resource:
    """A resource that is a single child."""
    return Resource(
        type_url=type_url,
        name=child.name,
        version=child.digest,
        frame=b"",
        field=0,
        children=(child,),
    )


def assembled(
    type_url: str,
    name: str,
    frame: bytes,
    field: int,
    children: tuple[Child, ...],
    tables: tuple[str, ...] = (),
) -> Resource:
    """A resource whose children stand in the repeated field number `field`, in this order."""
    version = digest(frame, *(child.digest.encode() for child in children))
    return Resource(
        type_url=type_url,
        name=name,
        version=version,
        frame=frame,
        field=field,
        children=children,
        tables=tables,
    )


class Present(Struct, frozen=True, kw_only=True):
    """The resource as it is now."""

    resource: Resource


class Absent(Struct, frozen=True):
    """There is no such resource: the proxy is told that it is gone."""


class Pending(Struct, frozen=True):
    """Not known yet: nothing is sent, and the proxy holds what needs it."""


Answer = Present | Absent | Pending


class Named(Struct, frozen=True):
    """One entry of a wildcard subscription: a name, and the call whose value is its `Answer`."""

    name: str
    query: Callable[..., Answer]
    args: tuple[Any, ...]


def varint(value: int) -> bytes:
    """A protobuf base-128 integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
