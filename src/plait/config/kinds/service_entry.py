"""Istio's ServiceEntry: a host that Kubernetes does not know."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from plait.config.kinds.port import Port
from plait.config.kinds.selector import WorkloadSelector
from plait.config.kinds.workload_entry import WorkloadEntry


class Location(Enum):
    """Whether the host is of the mesh."""

    MESH_EXTERNAL = "MESH_EXTERNAL"  # never mutual TLS
    MESH_INTERNAL = "MESH_INTERNAL"


class Resolution(Enum):
    """How the endpoints' addresses are found."""

    NONE = "NONE"  # where the caller was going
    STATIC = "STATIC"
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    DYNAMIC_DNS = "DYNAMIC_DNS"


class ServiceEntry(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Hosts with their ports and endpoints.

    Attributes:
        addresses: virtual IPs and CIDRs.
        endpoints: or `workload_selector`, which picks Pods and WorkloadEntries of the namespace.
        export_to: as written; empty: everywhere.
        subject_alt_names: that the endpoints' certificates must have.
    """

    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    location: Location = Location.MESH_EXTERNAL
    resolution: Resolution = Resolution.NONE
    endpoints: tuple[WorkloadEntry, ...] = ()
    workload_selector: WorkloadSelector | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
