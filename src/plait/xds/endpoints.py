"""Endpoints: IR to ClusterLoadAssignment, shared by all views in which a cluster is the same."""

from __future__ import annotations

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
        message.endpoints.add(
            locality=locality(group.locality),
            lb_endpoints=[encode_endpoint(one, found.port) for one in group.endpoints],
            load_balancing_weight={"value": sum(one.weight for one in group.endpoints)},
            priority=group.priority,
        )
    return protos.encode(message)


def locality(place: ir.Locality) -> Any:
    """A Locality message."""
    return protos.Locality(region=place.region, zone=place.zone, sub_zone=place.subzone)


def encode_endpoint(one: ir.Endpoint, port: str) -> Any:
    """An LbEndpoint on the number that `port`, a name of the host's ports, has there."""
    message = protos.LbEndpoint()
    address = message.endpoint.address
    if one.address.startswith("unix://"):
        address.pipe.path = one.address.removeprefix("unix://")
    else:
        address.socket_address.address = one.address
        address.socket_address.port_value = one.ports[port]
    message.load_balancing_weight.value = one.weight
    by_filter = message.metadata.filter_metadata
    mode = "istio" if one.tls else "disabled"
    by_filter["envoy.transport_socket_match"].fields["tlsMode"].string_value = mode
    if one.workload:
        by_filter["istio"].fields["workload"].string_value = ";".join(
            (
                one.workload,
                one.namespace,
                workloads.canonical_name(one.labels, one.workload),
                workloads.canonical_revision(one.labels),
                one.cluster,
            )
        )
    return message
