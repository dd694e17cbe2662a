"""Selection of workloads by their labels."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class WorkloadSelector(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Workloads that have all of these labels; none: every workload."""

    labels: Mapping[str, str] = {}


class PolicySelector(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The same where Istio writes ``matchLabels``."""

    match_labels: Mapping[str, str] = {}
