"""Clusters as Envoy reads them."""

from __future__ import annotations

import pytest

from plait.config.meta import Key
from plait.mesh import ir
from plait.mesh import tls as mesh_tls
from plait.xds import clusters, endpoints, protos, tls
from plait.xds.admission import admitted
from plait.xds.resource import CLUSTER, Absent, Child
from tests.support import objects
from tests.support.envoy import validate
from tests.support.objects import endpoint_slice, entry, pod, put, ran, refused, rule, service, view

REVIEWS = "reviews.demo.svc.cluster.local"
NAME = f"outbound|9080||{REVIEWS}"
OWN = ir.Inbound(
    "demo",
    ir.Interception.REDIRECT,
    (
        ir.InboundPort(number=9080, protocol=ir.Protocol.HTTP, host=REVIEWS, service_port=80),
        ir.InboundPort(number=9090, protocol=ir.Protocol.AUTO, endpoint="unix:///run/app.sock"),
    ),
)


def answers(engine):
    named = engine.get(clusters.outbound_names, view()) + engine.get(clusters.inbound_names, OWN)
    return {one.name: engine.get(one.query, *one.args) for one in named}


def messages(engine):
    return {
        name: protos.MessageToDict(
            protos.Cluster.FromString(answer.resource.body), preserving_proto_field_name=True
        )
        for name, answer in answers(engine).items()
    }


def test_a_cluster_as_envoy_reads_it():
    engine = objects.engine(service())

    assert messages(engine)[NAME] == {
        "name": NAME,
        "alt_stat_name": f"{NAME};",
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {
                "ads": {},
                "initial_fetch_timeout": "0s",
                "resource_api_version": "V3",
            },
            "service_name": NAME,
        },
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 4294967295,
                    "max_pending_requests": 4294967295,
                    "max_requests": 4294967295,
                    "max_retries": 4294967295,
                    "track_remaining": True,
                }
            ]
        },
        "metadata": {
            "filter_metadata": {
                "istio": {"services": [{"host": REVIEWS, "name": "reviews", "namespace": "demo"}]},
                "plait": {"origin": "Service demo/reviews"},
            }
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/"
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def test_the_fixed_clusters_come_first():
    engine = objects.engine(service())

    found = messages(engine)

    assert list(found)[:3] == ["BlackHoleCluster", "PassthroughCluster", NAME]
    assert found["BlackHoleCluster"].get("type", "STATIC") == "STATIC"
    assert found["PassthroughCluster"]["type"] == "ORIGINAL_DST"
    assert found["PassthroughCluster"]["lb_policy"] == "CLUSTER_PROVIDED"
    assert found["InboundPassthroughCluster"]["alt_stat_name"] == "PassthroughCluster;"
    source = found["inbound|9080||"]["upstream_bind_config"]["source_address"]
    assert source == {"address": "127.0.0.6", "port_value": 0}


def test_names_are_looked_up_as_istio_does():
    engine = objects.engine(
        entry(resolution="DNS_ROUND_ROBIN"),
        entry(
            "two",
            hosts=("b.com",),
            resolution="DNS",
            endpoints=[{"address": "x.b.com", "locality": "eu"}, {"address": "y.b.com"}],
        ),
    )
    found = messages(engine)

    one = found["outbound|80||api.example.com"]
    assert one["type"] == "LOGICAL_DNS"
    assert one["dns_lookup_family"] == "V4_ONLY"
    assert one["dns_refresh_rate"] == "60s"
    assert one["respect_dns_ttl"]
    two = found["outbound|80||b.com"]["load_assignment"]
    assert [len(group["lb_endpoints"]) for group in two["endpoints"]] == [1, 1]
    assert two["endpoints"][1]["locality"] == {"region": "eu"}


def test_one_rule_makes_one_service_anew():
    engine = objects.engine(service(), service("ratings"), service("details"))
    watch(engine)

    counts = ran(engine, put(rule(trafficPolicy={"loadBalancer": {"simple": "RANDOM"}})))
    assert counts["_host_names"] == counts["host_clusters"] == 1
    assert "cluster" not in counts  # it has another reference now, which is to be watched

    watch(engine)
    counts = ran(engine, put(rule(trafficPolicy={"loadBalancer": {"simple": "ROUND_ROBIN"}})))
    assert counts == {
        "rule": 1,
        "merged": 1,
        "policy": 1,
        "origin": 1,
        "subset_names": 1,
        "cluster": 1,
        "outbound": 1,
    }


def watch(engine):
    for named in engine.watch(clusters.outbound_names, view()):
        engine.watch(named.query, *named.args)


# Rejection


def test_a_refused_cluster_is_left_out_until_it_changes():
    engine = objects.engine(service())
    bad = answers(engine)[NAME].resource

    engine.commit([refused(bad.children[0].digest)])
    assert answers(engine)[NAME] == Absent()

    engine.commit([put(rule(trafficPolicy={"loadBalancer": {"simple": "RANDOM"}}))])
    assert answers(engine)[NAME].resource.version != bad.version


def test_a_refused_cluster_goes_on_as_it_was_accepted():
    engine = objects.engine(service())
    good = answers(engine)[NAME].resource
    engine.commit([put(rule(trafficPolicy={"loadBalancer": {"simple": "RANDOM"}}))])
    bad = answers(engine)[NAME].resource

    engine.commit([refused(bad.version, good.body)])

    sent = answers(engine)[NAME].resource
    assert (sent.type_url, sent.body, sent.version) == (CLUSTER, good.body, good.version)


def admit(q, child, spare):
    return admitted(q, child, spare)


def test_what_was_accepted_and_refused_later_is_not_sent_either():
    key = Key(group="", kind="Service", namespace="a", name="b")
    child = Child(name="x", digest="d1", body=b"1", origin=(key,))
    spare = Child(name="x", digest="d0", body=b"0")
    engine = objects.engine()

    assert engine.get(admit, child, spare) is child
    engine.commit([refused("d1", b"old")])
    old = engine.get(admit, child, spare)
    assert (old.name, old.body, old.origin) == ("x", b"old", (key,))
    engine.commit([refused(old.digest)])
    assert engine.get(admit, child, spare) is spare


# Envoy itself


@pytest.mark.parametrize("name", ["http", "grpc", "web", "tcp"])
def test_envoy_takes_every_sort_of_cluster(name, tmp_path):
    # Round robin and least request, DNS and static, sockets and localities.
    inline = [
        {"address": "10.1.0.1", "locality": "eu/z1", "labels": {"version": "v1"}},
        {"address": "unix:///run/x.sock", "weight": 3},
    ]
    engine = objects.engine(
        service(ports=[{"name": name, "port": 9080}]),
        endpoint_slice(ports={name: 9080}, addresses=("10.0.0.1", "10.0.0.2")),
        pod(labels={"app": "reviews", "security.istio.io/tlsMode": "istio"}),
        service("headless", ip="None"),
        entry(resolution="DNS"),
        entry("robin", hosts=("r.com",), resolution="DNS_ROUND_ROBIN"),
        entry("empty", hosts=("*.e.com",), resolution="DNS_ROUND_ROBIN"),
        entry("static", hosts=("s.com",), resolution="STATIC", endpoints=inline),
        rule(
            subsets={"v1": {"app": "reviews"}}, trafficPolicy={"loadBalancer": {"simple": "RANDOM"}}
        ),
    )
    static = [embedded(engine, message) for message in messages(engine).values()]

    assert len(static) == 12
    validate({"static_resources": {"clusters": static}}, tmp_path)


def embedded(engine, message):
    """A cluster that asks for no endpoints but has them."""
    if message.get("type") != "EDS":
        return message
    answer = engine.get(endpoints.endpoints, view(), ir.Locality(), message["name"])
    assignment = protos.MessageToDict(
        protos.ClusterLoadAssignment.FromString(answer.resource.body),
        preserving_proto_field_name=True,
    )
    rest = {name: value for name, value in message.items() if name != "eds_cluster_config"}
    return {**rest, "type": "STATIC", "load_assignment": assignment}


def test_hosts_that_come_and_go_leave_nothing_behind():
    for i in range(2000):
        tls.client(mesh_tls.Client(sni=f"outbound_.80_._.host-{i}.demo.svc.cluster.local"))

    assert tls.client.cache_info().currsize <= 1024
