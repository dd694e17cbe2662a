"""Istio's WorkloadEntry: an endpoint that Kubernetes does not know."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from plait.config.kinds.units import Count


class WorkloadEntry(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One workload.

    Attributes:
        address: IP address, DNS name or ``unix://`` path; empty: the gateway of `network`.
        ports: name of the service's port → number on this address; others: the service's target.
        locality: ``region/zone/subzone``.
        weight: share beside others; 0: 1.
    """

    address: str = ""
    ports: Mapping[str, Count] = {}
    labels: Mapping[str, str] = {}
    network: str = ""
    locality: str = ""
    weight: Count = 0
    service_account: str = ""
