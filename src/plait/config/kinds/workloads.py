"""Kubernetes' Deployment and ReplicaSet."""

from __future__ import annotations

from msgspec import Struct

from plait.config.kinds.labels import LabelSelector
from plait.config.kinds.pod import PodTemplateSpec
from plait.config.kinds.units import IntOrString, Time


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


class WorkloadCondition(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One line of the state of a Deployment or ReplicaSet; True, False or Unknown.

    Attributes:
        last_update_time: of a Deployment only: when it last got on.
        last_transition_time: when `status` changed.
    """

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_update_time: Time | None = None
    last_transition_time: Time | None = None


class DeploymentStatus(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The state of a Deployment, for people: it is no part of the row.

    Attributes:
        observed_generation: of the specification that the rest is about.
    """

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    terminating_replicas: int = 0
    conditions: tuple[WorkloadCondition, ...] = ()


class ReplicaSetStatus(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The state of a ReplicaSet, for people: it is no part of the row."""

    observed_generation: int = 0
    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    terminating_replicas: int = 0
    conditions: tuple[WorkloadCondition, ...] = ()
