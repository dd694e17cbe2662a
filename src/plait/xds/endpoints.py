"""Endpoints: IR to ClusterLoadAssignment, shared by all views in which a cluster is the same."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from plait.base.digest import digest
from plait.base.query import Query
from plait.mesh import clusters, ir, rules, workloads
from plait.mesh import endpoints as mesh
from plait.xds import protos
from plait.xds.resource import ENDPOINTS, Absent, Answer, Child, Present, leaf


def endpoints(q: Query, view: ir.View, locality: ir.Locality, name: str) -> Answer:
    """The endpoints of the cluster `name` as proxies of `view` in `locality` see them.

    Absent: the view has no such cluster.  A host without endpoints has an empty assignment, which
    Envoy answers with 503 at once.  `locality` has no effect before priorities by distance exist.
    """
    del locality
    ref = q(clusters.ref, q(clusters.shared_view, view), name)
    return Absent() if ref is None else q(assignment, ref)


def assignment(q: Query, ref: clusters.ClusterRef) -> Answer:
    """The endpoints of an outbound cluster; Absent: its subset is gone."""
    labels = q(rules.subset_labels, ref.rules, ref.subset)
    if labels is None:
        return Absent()
    found = q(mesh.endpoint_set, ref.host, ref.port, labels, ref.name)
    body = encode(found)
    child = Child(name=ref.name, digest=digest(body), body=body, origin=ref.host.owners)
    return Present(resource=leaf(ENDPOINTS, child))


def encode(found: ir.EndpointSet) -> bytes:
    """A serialised ClusterLoadAssignment."""
    message = protos.ClusterLoadAssignment(cluster_name=found.cluster)
    for group in found.groups:
        fields = message.endpoints.add(
            locality=locality(group.locality),
            load_balancing_weight={"value": sum(one.weight for one in group.endpoints)},
            priority=group.priority,
        )
        for one in group.endpoints:
            write_endpoint(fields.lb_endpoints.add(), one, found.port)
    return protos.encode(message)


def locality(place: ir.Locality) -> Any:
    """A Locality message."""
    return protos.Locality(region=place.region, zone=place.zone, sub_zone=place.subzone)


def write_endpoint(message: Any, one: ir.Endpoint, port: str) -> None:
    """Fill an LbEndpoint: an endpoint on the number that `port`, a host's port name, has there."""
    message.CopyFrom(_template(one.weight, one.tls, _workload(one)))
    address = message.endpoint.address
    if one.address.startswith("unix://"):
        address.pipe.path = one.address.removeprefix("unix://")
    else:
        socket = address.socket_address
        socket.address = one.address
        socket.port_value = one.ports[port]


def _workload(one: ir.Endpoint) -> str:
    """What telemetry is told of an endpoint, in Istio's form; empty: nothing."""
    if not one.workload:
        return ""
    name = workloads.canonical_name(one.labels, one.workload)
    revision = workloads.canonical_revision(one.labels)
    return f"{one.workload};{one.namespace};{name};{revision};{one.cluster}"


@lru_cache(maxsize=4096)
def _template(
    weight: int,
    tls: bool,  # noqa: FBT001 - part of the cache's key
    workload: str,
) -> Any:
    """All that endpoints of one workload have in common; copied, never changed."""
    message = protos.LbEndpoint()
    message.load_balancing_weight.value = weight
    by_filter = message.metadata.filter_metadata
    mode = "istio" if tls else "disabled"
    by_filter["envoy.transport_socket_match"].fields["tlsMode"].string_value = mode
    if workload:
        by_filter["istio"].fields["workload"].string_value = workload
    return message
