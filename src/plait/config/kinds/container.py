"""Kubernetes' containers and their probes."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from plait.config.kinds.units import IntOrString, Quantity


class ExecAction(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A command run in the container."""

    command: tuple[str, ...] = ()


class HTTPHeader(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A header of a request."""

    name: str = ""
    value: str = ""


class HTTPGetAction(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A request; `port` is a number or a port's name."""

    path: str = ""
    port: IntOrString = 0
    host: str = ""
    scheme: str = ""
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPSocketAction(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A connection; `port` is a number or a port's name."""

    port: IntOrString = 0
    host: str = ""


class GRPCAction(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A gRPC health check."""

    port: int = 0
    service: str = ""


class SleepAction(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A pause."""

    seconds: int = 0


class Probe(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How a container's health is asked for; durations in seconds, None: Kubernetes' default."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int | None = None
    timeout_seconds: int | None = None
    period_seconds: int | None = None
    success_threshold: int | None = None
    failure_threshold: int | None = None
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is done at a moment of a container's life."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is done after a container starts and before it stops."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str = ""


class ObjectFieldSelector(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A field of the Pod."""

    api_version: str = ""
    field_path: str = ""


class ResourceFieldSelector(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A resource of a container."""

    container_name: str = ""
    resource: str = ""
    divisor: Quantity | None = None


class ConfigMapKeySelector(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A key of a ConfigMap."""

    name: str = ""
    key: str = ""
    optional: bool | None = None


class SecretKeySelector(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A key of a Secret."""

    name: str = ""
    key: str = ""
    optional: bool | None = None


class FileKeySelector(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A key of a file in a volume."""

    volume_name: str = ""
    path: str = ""
    key: str = ""
    optional: bool | None = None


class EnvVarSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where a variable's value comes from; one of five."""

    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: ConfigMapKeySelector | None = None
    secret_key_ref: SecretKeySelector | None = None
    file_key_ref: FileKeySelector | None = None


class EnvVar(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A variable of the environment."""

    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A ConfigMap or Secret, all of whose keys become variables."""

    name: str = ""
    optional: bool | None = None


class EnvFromSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Variables from all keys of an object."""

    prefix: str = ""
    config_map_ref: EnvSource | None = None
    secret_ref: EnvSource | None = None


class ContainerPort(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A port that a container serves; 0 for none on the host."""

    name: str = ""
    host_port: int = 0
    container_port: int = 0
    protocol: str = "TCP"
    host_ip: str = field(default="", name="hostIP")


class ResourceClaim(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A claim of the Pod that a container uses."""

    name: str = ""
    request: str = ""


class ResourceRequirements(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a container may use and is promised."""

    limits: Mapping[str, Quantity] = {}
    requests: Mapping[str, Quantity] = {}
    claims: tuple[ResourceClaim, ...] = ()


class ContainerResizePolicy(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Whether a change of a resource restarts the container."""

    resource_name: str = ""
    restart_policy: str = ""


class ContainerRestartRuleOnExitCodes(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """Exit codes, by In or NotIn."""

    operator: str = ""
    values: tuple[int, ...] = ()


class ContainerRestartRule(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What happens after certain exit codes."""

    action: str = ""
    exit_codes: ContainerRestartRuleOnExitCodes | None = None


class VolumeMount(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where a volume is seen in a container."""

    name: str = ""
    read_only: bool = False
    recursive_read_only: str = ""
    mount_path: str = ""
    sub_path: str = ""
    mount_propagation: str = ""
    sub_path_expr: str = ""


class VolumeDevice(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where a block device is seen in a container."""

    name: str = ""
    device_path: str = ""


class Capabilities(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Rights of Linux, given and taken."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SELinuxOptions(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Labels of SELinux."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class WindowsSecurityContextOptions(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """Security settings of Windows."""

    gmsa_credential_spec_name: str = ""
    gmsa_credential_spec: str = ""
    run_as_user_name: str = ""
    host_process: bool | None = None


class SeccompProfile(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A filter of system calls."""

    type: str = ""
    localhost_profile: str = ""


class AppArmorProfile(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A profile of AppArmor."""

    type: str = ""
    localhost_profile: str = ""


class SecurityContext(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a container may do; None: as the Pod says."""

    capabilities: Capabilities | None = None
    privileged: bool | None = None
    se_linux_options: SELinuxOptions | None = None
    windows_options: WindowsSecurityContextOptions | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    proc_mount: str = ""
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None


class Container(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One program of a Pod."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    restart_policy: str = ""
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    volume_devices: tuple[VolumeDevice, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    image_pull_policy: str = ""
    security_context: SecurityContext | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class EphemeralContainer(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A program added to a running Pod."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    restart_policy: str = ""
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    volume_devices: tuple[VolumeDevice, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    image_pull_policy: str = ""
    security_context: SecurityContext | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    target_container_name: str = ""
