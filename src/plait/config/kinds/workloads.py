"""Kubernetes' Deployment and ReplicaSet."""

from __future__ import annotations

from msgspec import Struct

from plait.config.kinds.labels import LabelSelector
from plait.config.kinds.pod import PodTemplateSpec
from plait.config.kinds.units import IntOrString


class RollingUpdateDeployment(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """How many Pods may be too few or too many; numbers or percentages."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class DeploymentStrategy(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How Pods are replaced: Recreate or RollingUpdate."""

    type: str = ""
    rolling_update: RollingUpdateDeployment | None = None


class Deployment(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Equal Pods that are replaced one after the other; durations in seconds."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: PodTemplateSpec = PodTemplateSpec()
    strategy: DeploymentStrategy = DeploymentStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None


class ReplicaSet(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Equal Pods."""

    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: LabelSelector | None = None
    template: PodTemplateSpec = PodTemplateSpec()
