"""Kubernetes' Pod."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from plait.config.kinds.affinity import Affinity, Toleration, TopologySpreadConstraint
from plait.config.kinds.container import (
    AppArmorProfile,
    Container,
    EphemeralContainer,
    ResourceRequirements,
    SeccompProfile,
    SELinuxOptions,
    WindowsSecurityContextOptions,
)
from plait.config.kinds.core import LocalObjectReference
from plait.config.kinds.labels import ObjectMeta
from plait.config.kinds.units import Quantity, Time
from plait.config.kinds.volume import Volume


class Sysctl(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A parameter of the kernel."""

    name: str = ""
    value: str = ""


class PodSecurityContext(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a Pod's containers may do."""

    se_linux_options: SELinuxOptions | None = None
    windows_options: WindowsSecurityContextOptions | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: str = ""
    fs_group: int | None = None
    sysctls: tuple[Sysctl, ...] = ()
    fs_group_change_policy: str = ""
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None
    se_linux_change_policy: str = ""


class HostAlias(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Names for an address in the hosts file."""

    ip: str = ""
    hostnames: tuple[str, ...] = ()


class PodDNSConfigOption(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An option of the resolver."""

    name: str = ""
    value: str | None = None


class PodDNSConfig(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Settings of the resolver."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[PodDNSConfigOption, ...] = ()


class PodReadinessGate(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A condition that somebody else sets before the Pod is ready."""

    condition_type: str = ""


class PodOS(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The operating system."""

    name: str = ""


class PodSchedulingGate(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Something that must happen before the Pod is scheduled."""

    name: str = ""


class PodResourceClaim(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A claim of a device."""

    name: str = ""
    resource_claim_name: str | None = None
    resource_claim_template_name: str | None = None


class WorkloadReference(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The group of Pods that it is scheduled with."""

    name: str = ""
    pod_group: str = ""
    pod_group_replica_key: str = ""


class PodSpec(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a Pod runs."""

    volumes: tuple[Volume, ...] = ()
    init_containers: tuple[Container, ...] = ()
    containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[EphemeralContainer, ...] = ()
    restart_policy: str = ""
    termination_grace_period_seconds: int | None = None
    active_deadline_seconds: int | None = None
    dns_policy: str = ""
    node_selector: Mapping[str, str] = {}
    service_account_name: str = ""
    service_account: str = ""
    automount_service_account_token: bool | None = None
    node_name: str = ""
    host_network: bool = False
    host_pid: bool = field(default=False, name="hostPID")
    host_ipc: bool = field(default=False, name="hostIPC")
    share_process_namespace: bool | None = None
    security_context: PodSecurityContext | None = None
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    affinity: Affinity | None = None
    scheduler_name: str = ""
    tolerations: tuple[Toleration, ...] = ()
    host_aliases: tuple[HostAlias, ...] = ()
    priority_class_name: str = ""
    priority: int | None = None
    dns_config: PodDNSConfig | None = None
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    runtime_class_name: str = ""
    enable_service_links: bool | None = None
    preemption_policy: str = ""
    overhead: Mapping[str, Quantity] = {}
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    set_hostname_as_fqdn: bool | None = field(default=None, name="setHostnameAsFQDN")
    os: PodOS | None = None
    host_users: bool | None = None
    scheduling_gates: tuple[PodSchedulingGate, ...] = ()
    resource_claims: tuple[PodResourceClaim, ...] = ()
    resources: ResourceRequirements | None = None
    hostname_override: str | None = None
    workload_ref: WorkloadReference | None = None


class PodTemplateSpec(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What Pods are made from."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()


class PodIP(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An address."""

    ip: str = ""


class HostIP(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An address of the node."""

    ip: str = ""


class PodCondition(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One line of a Pod's state; `status` is True, False or Unknown, and since when it is."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: Time | None = None


class ContainerStateWaiting(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A container that does not run yet, or not again yet."""

    reason: str = ""
    message: str = ""


class ContainerStateRunning(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A container that runs."""

    started_at: Time = 0.0


class ContainerStateTerminated(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A container that ended; the exit code is 128 and the signal's number after a signal."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: Time = 0.0
    finished_at: Time = 0.0
    container_id: str = field(default="", name="containerID")


class ContainerState(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a container does; one of three."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How one container does; `last_state` is of its run before."""

    name: str = ""
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    ready: bool = False
    restart_count: int = 0
    image: str = ""
    image_id: str = field(default="", name="imageID")
    container_id: str = field(default="", name="containerID")
    started: bool | None = None


class PodStatus(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The state of a Pod that endpoints depend on; Pending, Running, Succeeded, Failed, Unknown."""

    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")
    host_ip: str = field(default="", name="hostIP")
    host_ips: tuple[HostIP, ...] = field(default=(), name="hostIPs")
    conditions: tuple[PodCondition, ...] = ()
    reason: str = ""
    message: str = ""
    start_time: Time | None = None
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A group of containers with one address; its state is a part, since endpoints need it."""

    spec: PodSpec = PodSpec()
    status: PodStatus | None = None
