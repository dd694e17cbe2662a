"""Every kind of object: its names, its struct, its indexes, and what of it is not enforced yet."""

# budget: 440 lines, one entry for each kind
from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from plait.config import indexes, injection, pod_fields
from plait.config.kinds import (
    core,
    destination_rule,
    discovery,
    gateway,
    peer_authentication,
    pod,
    secret,
    service_entry,
    sidecar,
    virtual_service,
    workload_entry,
    workloads,
)
from plait.config.meta import Key

Index = Callable[[Any], Iterable[Hashable]]

ISTIO: Final = "networking.istio.io"
ISTIO_SECURITY: Final = "security.istio.io"
_ISTIO_VERSIONS: Final = ("v1", "v1beta1", "v1alpha3")


class Kind(Struct, frozen=True, kw_only=True):
    """One kind of object.

    Attributes:
        group: API group; empty: Kubernetes' core.
        versions: every version that is read, the preferred first; they have one form.
        short: short names for the command line.
        spec: struct of the body.
        body: field of the document that holds it; empty: it stands beside ``metadata``.
        unenforced: paths in the body that are read and have no effect yet, such as
            ``http[].mirror``; ``path=VALUE`` means that one value.
        defined: the kind's name in `KINDS` and of its table.
    """

    group: str
    versions: tuple[str, ...]
    kind: str
    plural: str
    singular: str
    short: tuple[str, ...] = ()
    namespaced: bool = True
    spec: type[Struct]
    body: str = "spec"
    indexes: Mapping[str, Index] = {}
    unenforced: tuple[str, ...] = ()
    defined: str = ""

    @property
    def version(self) -> str:
        """The preferred version."""
        return self.versions[0]

    @property
    def api_version(self) -> str:
        """``group/version``, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def table(self) -> str:
        """Name of the table that holds the objects."""
        return self.defined or self.kind

    def key(self, namespace: str, name: str) -> Key:
        """Name an object of this kind; `namespace` is dropped where the kind has none."""
        space = namespace if self.namespaced else ""
        return Key(group=self.group, kind=self.kind, namespace=space, name=name)


_BY_NAMESPACE: Final[Mapping[str, Index]] = {"namespace": indexes.namespace}
_OWNED: Final[Mapping[str, Index]] = {
    **_BY_NAMESPACE,
    "owner": indexes.owner,
    "all": indexes.everything,
}

_VIRTUAL_SERVICE: Final = Kind(
    group=ISTIO,
    versions=_ISTIO_VERSIONS,
    kind="VirtualService",
    plural="virtualservices",
    singular="virtualservice",
    short=("vs",),
    spec=virtual_service.VirtualService,
    indexes={
        "host": indexes.route_host,
        "gateway": indexes.route_gateway,
        "namespace": indexes.namespace,
        "export": indexes.export,
        "source_labels": indexes.route_source_labels,
        "source": indexes.route_source,
    },
    unenforced=(
        "http[].match[].statPrefix",
        "http[].delegate",
        "http[].retries.retryRemoteLocalities",
        "http[].fault",
        "http[].mirror",
        "http[].mirrors",
        "http[].mirrorPercent",
        "http[].mirrorPercentage",
        "http[].corsPolicy",
        "tcp[].match[].sourceSubnet",
    ),
)

_PORT_POLICY: Final = (
    "loadBalancer.consistentHash",
    "loadBalancer.localityLbSetting",
    "loadBalancer.warmupDurationSecs",
    "loadBalancer.warmup",
    "connectionPool.tcp.maxConnections",
    "connectionPool.tcp.tcpKeepalive",
    "connectionPool.tcp.maxConnectionDuration",
    "connectionPool.tcp.idleTimeout",
    "connectionPool.http",
    "outlierDetection",
)
_TRAFFIC_POLICY: Final = (
    *_PORT_POLICY,
    *(f"portLevelSettings[].{path}" for path in _PORT_POLICY),
    "tunnel",
    "proxyProtocol",
    "retryBudget",
)

_DESTINATION_RULE: Final = Kind(
    group=ISTIO,
    versions=_ISTIO_VERSIONS,
    kind="DestinationRule",
    plural="destinationrules",
    singular="destinationrule",
    short=("dr",),
    spec=destination_rule.DestinationRule,
    indexes={
        "host": indexes.rule_host,
        "namespace": indexes.namespace,
        "export": indexes.export,
        "selecting": indexes.rule_selecting,
        "credential": indexes.rule_credential,
    },
    unenforced=(
        *(f"trafficPolicy.{path}" for path in _TRAFFIC_POLICY),
        *(f"subsets[].trafficPolicy.{path}" for path in _TRAFFIC_POLICY),
    ),
)

_GATEWAY: Final = Kind(
    group=ISTIO,
    versions=_ISTIO_VERSIONS,
    kind="Gateway",
    plural="gateways",
    singular="gateway",
    short=("gw",),
    spec=gateway.Gateway,
    indexes={"namespace": indexes.namespace, "all": indexes.everything},
    unenforced=(
        "servers[].tls.mode=AUTO_PASSTHROUGH",
        "servers[].defaultEndpoint",
        "servers[].port.targetPort",
        "servers[].port.protocol=UDP",
    ),
)

_SERVICE_ENTRY: Final = Kind(
    group=ISTIO,
    versions=_ISTIO_VERSIONS,
    kind="ServiceEntry",
    plural="serviceentries",
    singular="serviceentry",
    short=("se",),
    spec=service_entry.ServiceEntry,
    indexes={
        "host": indexes.entry_host,
        "export": indexes.export,
        "namespace": indexes.namespace,
        "selected": indexes.entry_selected,
        "unaddressed": indexes.entry_unaddressed,
        "address": indexes.entry_address,
        "virtual_address": indexes.entry_virtual_address,
        "bare_port": indexes.entry_bare_port,
    },
    unenforced=("resolution=DYNAMIC_DNS", "endpoints[].network"),
)

_WORKLOAD_ENTRY: Final = Kind(
    group=ISTIO,
    versions=_ISTIO_VERSIONS,
    kind="WorkloadEntry",
    plural="workloadentries",
    singular="workloadentry",
    short=("we",),
    spec=workload_entry.WorkloadEntry,
    indexes={**_BY_NAMESPACE, "address": indexes.workload_address},
    unenforced=("network",),
)

_SIDECAR: Final = Kind(
    group=ISTIO,
    versions=_ISTIO_VERSIONS,
    kind="Sidecar",
    plural="sidecars",
    singular="sidecar",
    spec=sidecar.Sidecar,
    indexes={"namespace": indexes.namespace, "all": indexes.everything},
    unenforced=(
        "ingress[].port.protocol=UDP",
        "ingress[].tls",
        "ingress[].connectionPool",
        "egress[].port.protocol=UDP",
        "inboundConnectionPool",
        "outboundTrafficPolicy.egressProxy",
    ),
)

_PEER_AUTHENTICATION: Final = Kind(
    group=ISTIO_SECURITY,
    versions=("v1", "v1beta1"),
    kind="PeerAuthentication",
    plural="peerauthentications",
    singular="peerauthentication",
    short=("pa",),
    spec=peer_authentication.PeerAuthentication,
    indexes={**_BY_NAMESPACE, "all": indexes.everything},
)

_NAMESPACE: Final = Kind(
    group="",
    versions=("v1",),
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    short=("ns",),
    namespaced=False,
    spec=core.Namespace,
    indexes={"all": indexes.everything},
)

_SERVICE_ACCOUNT: Final = Kind(
    group="",
    versions=("v1",),
    kind="ServiceAccount",
    plural="serviceaccounts",
    singular="serviceaccount",
    short=("sa",),
    spec=core.ServiceAccount,
    body="",
    indexes=_BY_NAMESPACE,
)

_SERVICE: Final = Kind(
    group="",
    versions=("v1",),
    kind="Service",
    plural="services",
    singular="service",
    short=("svc",),
    spec=core.Service,
    indexes={
        "host": indexes.service_host,
        "export": indexes.service_export,
        "namespace": indexes.namespace,
        "selected": indexes.service_selected,
        "all": indexes.everything,
        "unaddressed": indexes.service_unaddressed,
        "virtual_address": indexes.service_virtual_address,
        "bare_port": indexes.service_bare_port,
    },
    unenforced=(
        "sessionAffinity=ClientIP",
        "sessionAffinityConfig",
        "externalTrafficPolicy=Local",
        "internalTrafficPolicy=Local",
        "trafficDistribution",
    ),
)

_CONFIG_MAP: Final = Kind(
    group="",
    versions=("v1",),
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    short=("cm",),
    spec=core.ConfigMap,
    body="",
    indexes=_BY_NAMESPACE,
)

_SECRET: Final = Kind(
    group="",
    versions=("v1",),
    kind="Secret",
    plural="secrets",
    singular="secret",
    spec=secret.Secret,
    body="",
    indexes=_BY_NAMESPACE,
)

_POD: Final = Kind(
    group="",
    versions=("v1",),
    kind="Pod",
    plural="pods",
    singular="pod",
    short=("po",),
    spec=pod.Pod,
    body="",
    indexes={**_OWNED, "address": indexes.pod_address, "gateway": injection.gateways},
    unenforced=pod_fields.unenforced("spec"),
)

_ENDPOINT_SLICE: Final = Kind(
    group="discovery.k8s.io",
    versions=("v1",),
    kind="EndpointSlice",
    plural="endpointslices",
    singular="endpointslice",
    spec=discovery.EndpointSlice,
    body="",
    indexes={**_OWNED, "service": indexes.slice_service},
    unenforced=("addressType=FQDN",),
)

_DEPLOYMENT: Final = Kind(
    group="apps",
    versions=("v1",),
    kind="Deployment",
    plural="deployments",
    singular="deployment",
    short=("deploy",),
    spec=workloads.Deployment,
    indexes=_OWNED,
    unenforced=pod_fields.unenforced("template.spec"),
)

_REPLICA_SET: Final = Kind(
    group="apps",
    versions=("v1",),
    kind="ReplicaSet",
    plural="replicasets",
    singular="replicaset",
    short=("rs",),
    spec=workloads.ReplicaSet,
    indexes=_OWNED,
    unenforced=pod_fields.unenforced("template.spec"),
)

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.table: kind
        for kind in (
            _NAMESPACE,
            _SERVICE_ACCOUNT,
            _SERVICE,
            _CONFIG_MAP,
            _SECRET,
            _POD,
            _ENDPOINT_SLICE,
            _DEPLOYMENT,
            _REPLICA_SET,
            _VIRTUAL_SERVICE,
            _DESTINATION_RULE,
            _GATEWAY,
            _SERVICE_ENTRY,
            _WORKLOAD_ENTRY,
            _SIDECAR,
            _PEER_AUTHENTICATION,
        )
    }
)
"""Every kind, by the name of its table."""

_BY_GROUP: Final = MappingProxyType({(kind.group, kind.kind): kind for kind in KINDS.values()})


def find(group: str, kind: str) -> Kind | None:
    """The kind of that name in an API group; None: not one of ours."""
    return _BY_GROUP.get((group, kind))


def of(key: Key) -> Kind:
    """The kind of an object.

    Raises:
        KeyError: the key names no kind of ours.
    """
    return _BY_GROUP[(key.group, key.kind)]


def table(key: Key) -> str:
    """Name of the table that holds the object."""
    return of(key).table


def tables() -> dict[str, Mapping[str, Index]]:
    """What the engine holds: a table for each kind, and those that nobody writes by hand."""
    found: dict[str, Mapping[str, Index]] = {name: kind.indexes for name, kind in KINDS.items()}
    found["TrustBundle"] = {}
    found["Rejection"] = {"object": indexes.rejected_objects, "all": lambda _: (True,)}
    found["MeshConfig"] = {}
    found["Conflict"] = {"all": indexes.conflicting}
    return found
