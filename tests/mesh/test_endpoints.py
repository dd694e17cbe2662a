"""The endpoints of a host."""

from __future__ import annotations

import pytest

from plait.mesh import endpoints, ir, visibility, workloads
from tests.support import objects
from tests.support.objects import (
    endpoint_slice,
    entry,
    pod,
    put,
    ran,
    replica_set,
    service,
    view,
    workload,
)

REVIEWS = "reviews.demo.svc.cluster.local"
V1 = {"app": "reviews", "version": "v1", "pod-template-hash": "5f"}


def host_id(engine, name=REVIEWS):
    return engine.get(visibility.visible_host, view(), name)


def found(engine, name=REVIEWS):
    return engine.get(endpoints.endpoints, host_id(engine, name))


def addresses(engine, name=REVIEWS, port=9080, labels=()):
    made = engine.get(endpoints.endpoint_set, host_id(engine, name), port, labels)
    return [
        f"{one.address}:{one.ports[made.port]}" for group in made.groups for one in group.endpoints
    ]


def test_an_endpoint_has_the_labels_and_the_workload_of_its_pod():
    one = pod(labels=V1, account="bookinfo", owner=replica_set("reviews-v1-5f"))
    engine = objects.engine(service(), endpoint_slice(zone="z1"), one)

    (endpoint,) = found(engine)

    assert endpoint.labels == V1
    assert endpoint.workload == "reviews-v1"
    assert endpoint.namespace == "demo"
    assert endpoint.locality == ir.Locality(zone="z1")
    assert endpoint.identity == "spiffe://cluster.local/ns/demo/sa/bookinfo"
    assert not endpoint.tls


def test_identities_are_of_the_trust_domain_of_the_mesh():
    engine = objects.engine(service(), endpoint_slice(), pod(account="bookinfo"))
    found(engine)

    engine.commit([objects.settings(trust_domain="corp.example")])

    assert found(engine)[0].identity == "spiffe://corp.example/ns/demo/sa/bookinfo"


def test_only_a_pod_that_says_so_takes_mutual_tls():
    one = pod(labels={"security.istio.io/tlsMode": "istio"})

    assert found(objects.engine(service(), endpoint_slice(), one))[0].tls


@pytest.mark.parametrize(
    ("labels", "name", "revision"),
    [
        ({}, "own", "latest"),
        ({"app": "a"}, "a", "latest"),
        ({"app": "a", "app.kubernetes.io/name": "k"}, "k", "latest"),
        ({"app": "a", "service.istio.io/canonical-name": "c", "version": "v9"}, "c", "v9"),
    ],
)
def test_the_name_that_telemetry_knows(labels, name, revision):
    assert workloads.canonical_name(labels, "own") == name
    assert workloads.canonical_revision(labels) == revision


def test_unready_endpoints_are_known_but_not_called():
    piece = endpoint_slice(addresses=("10.0.0.2", "10.0.0.1"), unready=("10.0.0.2",))
    engine = objects.engine(service(), piece)

    assert [one.ready for one in found(engine)] == [True, False]
    assert addresses(engine) == ["10.0.0.1:9080"]


def test_slices_are_joined_and_an_address_is_there_once():
    engine = objects.engine(
        service(),
        endpoint_slice(addresses=("10.0.0.2", "10.0.0.1"), suffix="a"),
        endpoint_slice(addresses=("10.0.0.3", "10.0.0.1"), suffix="b"),
    )

    assert addresses(engine) == ["10.0.0.1:9080", "10.0.0.2:9080", "10.0.0.3:9080"]


def test_a_subset_has_the_endpoints_with_its_labels():
    engine = objects.engine(
        service(),
        endpoint_slice(addresses=("10.0.0.1", "10.0.0.2")),
        pod("10.0.0.1", labels={"version": "v1"}),
        pod("10.0.0.2", labels={"version": "v2"}),
    )

    assert addresses(engine, labels=(("version", "v2"),)) == ["10.0.0.2:9080"]


def test_nobody_there_is_said():
    engine = objects.engine(service(), endpoint_slice(unready=("10.0.0.1",)))
    who = host_id(engine)
    engine.get(endpoints.endpoint_set, who, 9080, ())
    engine.get(endpoints.endpoint_set, who, 9080, (("version", "v3"),))

    (nobody,) = engine.why(endpoints.endpoint_set, who, 9080, ()).notes
    (subset,) = engine.why(endpoints.endpoint_set, who, 9080, (("version", "v3"),)).notes

    assert (nobody.code, subset.code) == ("PLT3002", "PLT3005")
    assert "1 not ready" in nobody.message
    assert "version=v3" in subset.message


def test_localities_are_groups_in_order():
    engine = objects.engine(
        service(),
        endpoint_slice(addresses=("10.0.0.1", "10.0.0.2", "10.0.0.3")),
        pod("10.0.0.1", labels={"istio-locality": "us.z2.s"}),
        pod("10.0.0.2", labels={"topology.kubernetes.io/region": "eu"}),
        pod("10.0.0.3", labels={"istio-locality": "us.z2.s"}),
    )
    made = engine.get(endpoints.endpoint_set, host_id(engine), 9080, ())

    assert [(group.locality.region, len(group.endpoints)) for group in made.groups] == [
        ("eu", 1),
        ("us", 2),
    ]


def test_a_service_selects_workload_entries_by_the_labels_of_their_metadata():
    ports = [{"name": "http", "port": 9080, "targetPort": 8080}]
    chosen = workload(labels={"app": "reviews"}, address="192.168.0.1", ports={"http": 7070})
    other = objects.made(
        "WorkloadEntry",
        "vm3",
        {"address": "192.168.0.3", "labels": {"app": "reviews"}},
        labels={"app": "other"},
    )
    target = objects.made(
        "WorkloadEntry", "vm4", {"address": "192.168.0.4", "labels": {"app": "reviews"}}
    )
    engine = objects.engine(
        service(ports=ports, selector={"app": "reviews"}), chosen, other, target
    )

    assert addresses(engine) == ["192.168.0.1:7070", "192.168.0.4:8080"]


def test_a_service_entry_selects_pods_and_workload_entries_of_its_namespace():
    selector = {"labels": {"app": "vm"}}
    ports = [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}]
    engine = objects.engine(
        entry(ports=ports, resolution="STATIC", workloadSelector=selector),
        pod("10.0.0.1", labels={"app": "vm"}),
        pod("10.0.0.2", labels={"app": "vm"}, ready=False),
        pod("10.0.0.3", "other", labels={"app": "vm"}),
        workload(labels={"app": "vm"}, address="192.168.0.1"),
    )

    assert addresses(engine, "api.example.com", 80) == ["10.0.0.1:8080", "192.168.0.1:8080"]


def test_endpoints_written_in_a_service_entry():
    written = [
        {
            "address": "1.1.1.1",
            "ports": {"http": 8080},
            "labels": {"version": "v1"},
            "locality": "eu/z1/s1",
            "weight": 500,
            "network": "n1",
            "serviceAccount": "a",
        },
        {"address": "unix:///run/a.sock"},
        {"address": ""},
    ]
    engine = objects.engine(entry(resolution="STATIC", endpoints=written))

    socket, full = found(engine, "api.example.com")

    assert socket.address == "unix:///run/a.sock"
    assert full == ir.Endpoint(
        address="1.1.1.1",
        ports={"http": 8080},
        labels={"version": "v1"},
        namespace="demo",
        workload="external",
        cluster="Kubernetes",
        network="n1",
        locality=ir.Locality("eu", "z1", "s1"),
        weight=500,
        identity="spiffe://cluster.local/ns/demo/sa/a",
    )


def test_weights_whose_sum_envoy_would_refuse_keep_their_proportion():
    most = 2**32 - 1
    written = [
        {"address": "1.1.1.1", "weight": most},
        {"address": "1.1.1.2", "weight": most, "locality": "eu"},
        {"address": "1.1.1.3", "weight": 1},
    ]
    engine = objects.engine(entry(resolution="STATIC", endpoints=written))

    made = engine.get(endpoints.endpoint_set, host_id(engine, "api.example.com"), 80, ())

    weights = {one.address: one.weight for group in made.groups for one in group.endpoints}
    assert weights["1.1.1.1"] == weights["1.1.1.2"] == 2**31 - 2
    assert weights["1.1.1.3"] == 1
    assert sum(weights.values()) <= most


def test_a_name_to_resolve_is_its_own_endpoint_but_a_wildcard_is_not():
    engine = objects.engine(entry(hosts=("a.com", "*.b.com"), resolution="DNS"))

    assert addresses(engine, "a.com", 80) == ["a.com:80"]
    assert found(engine, "*.b.com") == ()


def test_an_external_name_is_an_endpoint():
    external = service(ip="", type="ExternalName", externalName="db.example.com")

    assert addresses(objects.engine(external)) == ["db.example.com:9080"]


def test_ports_of_a_second_owner_take_the_names_of_the_first():
    ports = [{"number": 9080, "name": "web", "protocol": "HTTP"}]
    second = entry(
        hosts=(REVIEWS,), ports=ports, resolution="STATIC", endpoints=[{"address": "1.1.1.1"}]
    )
    engine = objects.engine(service(), endpoint_slice(), second)

    assert addresses(engine) == ["1.1.1.1:9080", "10.0.0.1:9080"]


def test_a_pod_that_changes_otherwise_is_no_change():
    engine = objects.engine(service(), endpoint_slice(), pod(labels=V1))
    who = host_id(engine)
    engine.watch(endpoints.endpoints, who)

    assert ran(engine, put(pod(labels=V1, containers=[{"name": "a"}]))) == {"of_pod": 1}


def test_what_envoy_would_refuse_a_whole_set_for_is_left_out():
    written = [
        {"address": "1.1.1.1"},
        {"address": "a.name"},
        {"address": "1.1.1"},
        {"address": "1.1.1.2", "ports": {"http": 70000}},
        {"address": "fd00::1"},
        {"address": "unix:///a"},
    ]
    static = entry(resolution="STATIC", endpoints=written)
    engine = objects.engine(
        static, entry("dns", hosts=("d.com",), resolution="DNS", endpoints=written)
    )

    assert addresses(engine, "api.example.com", 80) == ["1.1.1.1:80", "fd00::1:80", "unix:///a:80"]
    assert addresses(engine, "d.com", 80) == ["1.1.1:80", "1.1.1.1:80", "a.name:80", "fd00::1:80"]
