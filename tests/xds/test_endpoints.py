"""Endpoints as Envoy reads them."""

from __future__ import annotations

from plait.mesh import ir
from plait.xds import clusters, endpoints, protos
from plait.xds.resource import ENDPOINTS, Absent
from tests.support import objects
from tests.support.objects import endpoint_slice, pod, put, ran, replica_set, rule, service, view

REVIEWS = "reviews.demo.svc.cluster.local"
NAME = f"outbound|9080||{REVIEWS}"


def answer(engine, name=NAME, who=None):
    return engine.get(endpoints.endpoints, who or view(), ir.Locality(), name)


def message(engine, name=NAME):
    resource = answer(engine, name).resource
    assert (resource.type_url, resource.name) == (ENDPOINTS, name)
    return protos.MessageToDict(
        protos.ClusterLoadAssignment.FromString(resource.body), preserving_proto_field_name=True
    )


def test_endpoints_as_envoy_reads_them():
    labels = {"app": "reviews", "version": "v1", "pod-template-hash": "5f"}
    engine = objects.engine(
        service(),
        endpoint_slice(zone="z1"),
        pod(
            labels={**labels, "security.istio.io/tlsMode": "istio"},
            owner=replica_set("reviews-v1-5f"),
        ),
    )

    assert message(engine) == {
        "cluster_name": NAME,
        "endpoints": [
            {
                "locality": {"zone": "z1"},
                "load_balancing_weight": 1,
                "lb_endpoints": [
                    {
                        "endpoint": {
                            "address": {
                                "socket_address": {"address": "10.0.0.1", "port_value": 9080}
                            }
                        },
                        "load_balancing_weight": 1,
                        "metadata": {
                            "filter_metadata": {
                                "envoy.transport_socket_match": {"tlsMode": "istio"},
                                "istio": {"workload": "reviews-v1;demo;reviews;v1;Kubernetes"},
                            }
                        },
                    }
                ],
            }
        ],
    }


def test_a_cluster_that_the_view_does_not_have_is_absent():
    engine = objects.engine(service(export_to="."))

    for name in ("nonsense", f"outbound|1||{REVIEWS}", f"outbound|9080|v1|{REVIEWS}"):
        assert answer(engine, name) == Absent()
    assert answer(engine, who=view("other")) == Absent()


def test_a_host_without_endpoints_has_an_empty_assignment():
    engine = objects.engine(service())

    assert message(engine) == {"cluster_name": NAME}


def test_a_subset_that_goes_makes_its_endpoints_absent():
    engine = objects.engine(service(), rule(subsets={"v1": {}}))
    name = f"outbound|9080|v1|{REVIEWS}"
    assert message(engine, name) == {"cluster_name": name}

    engine.commit([put(rule())])

    assert answer(engine, name) == Absent()


def test_an_endpoint_that_flips_re_runs_four_queries_and_no_cluster():
    engine = objects.engine(
        service(), service("ratings"), endpoint_slice(), endpoint_slice("ratings")
    )
    for named in engine.watch(clusters.outbound_names, view()):
        engine.watch(named.query, *named.args)
        engine.watch(endpoints.endpoints, view(), ir.Locality(), named.name)

    counts = ran(engine, put(endpoint_slice(unready=("10.0.0.1",))))

    assert counts == {"endpoints": 2, "endpoint_set": 1, "assignment": 1}


def test_views_share_the_bytes():
    engine = objects.engine(service(), endpoint_slice())

    answer(engine)
    answer(engine, who=view("other"))

    assert engine.runs[endpoints.assignment] == 1


def test_endpoints_carry_where_they_are_and_none_goes_before_another():
    near = {"topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "z1"}
    engine = objects.engine(
        service(),
        endpoint_slice(addresses=("10.0.0.1", "10.0.0.2"), zone="z9"),
        pod("10.0.0.1", labels={"app": "reviews", **near, "topology.istio.io/subzone": "s"}),
        pod("10.0.0.2", labels={"app": "reviews", "istio-locality": "us.z2"}),
    )
    groups = message(engine)["endpoints"]

    assert [group["locality"] for group in groups] == [
        {"region": "eu", "zone": "z1", "sub_zone": "s"},
        {"region": "us", "zone": "z2"},
    ]
    assert all("priority" not in group for group in groups)
