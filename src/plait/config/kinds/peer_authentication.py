"""Istio's PeerAuthentication: what callers must show to be let in."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from plait.config.kinds.selector import PolicySelector


class MutualTLSMode(Enum):
    """Whether connections are encrypted and the caller shows who it is."""

    UNSET = "UNSET"  # as the wider policy says
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"  # either
    STRICT = "STRICT"


class MutualTLS(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Mutual TLS of a workload or of one port."""

    mode: MutualTLSMode = MutualTLSMode.UNSET


class PeerAuthentication(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the workloads of a namespace, or selected ones, ask of their callers.

    Attributes:
        selector: None or empty: all of the namespace (of the mesh, in the root namespace).
        mtls: None: as the wider policy says.
        port_level_mtls: by number of the workload's port; only together with a selector.
    """

    selector: PolicySelector | None = None
    mtls: MutualTLS | None = None
    port_level_mtls: Mapping[str, MutualTLS] = {}
