"""Clusters and the DestinationRules that shape them."""

from __future__ import annotations

from typing import Any

import pytest

from plait.mesh import clusters, ir, rules, visibility
from plait.mesh.placement import placement
from tests.support import objects
from tests.support.objects import (
    endpoint_slice,
    entry,
    put,
    ran,
    rule,
    service,
    settings,
    sidecar,
    view,
)

REVIEWS = "reviews.demo.svc.cluster.local"
ROOT = "istio-system"


def refs(engine, who=None):
    return {ref.name: ref for ref in engine.get(clusters.outbound_clusters, who or view())}


def cluster(engine, name=f"outbound|9080||{REVIEWS}", who=None):
    return engine.get(clusters.cluster, refs(engine, who)[name])


def chosen(engine, client="demo", host=REVIEWS, namespace="demo"):
    found = engine.get(clusters.rules_for, host, namespace, client)
    return [f"{key.namespace}/{key.name}" for key in found]


# Lookup


def test_the_clients_rule_goes_before_the_services_and_the_roots():
    own = rule("own", "client", host=REVIEWS)
    theirs = rule("theirs", "demo")
    root = rule("root", ROOT, host=REVIEWS)
    engine = objects.engine(own, theirs, root)

    assert chosen(engine, "client") == ["client/own"]
    assert chosen(engine, "stranger") == ["demo/theirs"]

    engine.commit([objects.gone(theirs)])

    assert chosen(engine, "stranger") == [f"{ROOT}/root"]


def test_a_clients_wildcard_goes_before_the_services_exact_name():
    engine = objects.engine(rule("wide", "client", host="*.svc.cluster.local"), rule("exact"))

    assert chosen(engine, "client") == ["client/wide"]


def test_a_clients_rule_holds_for_a_host_of_its_name_that_another_namespace_defines():
    machines = entry("vm", "machines", hosts=(REVIEWS,), ports=[{"number": 9080, "name": "http"}])
    own = rule(trafficPolicy={"connectionPool": {"tcp": {"connectTimeout": 3.0}}})
    engine = objects.engine(machines, own)

    assert cluster(engine, who=view("demo")).connect_timeout == 3.0
    assert cluster(engine, who=view("stranger")).connect_timeout == 10.0


def test_the_most_specific_host_wins_without_merging():
    wide = rule("wide", host="*.local")
    wider = rule("wider", host="*")
    near = rule("near", host="*.demo.svc.cluster.local")
    engine = objects.engine(wide, wider, near)

    assert chosen(engine) == ["demo/near"]

    engine.commit([put(rule("exact"))])

    assert chosen(engine) == ["demo/exact"]


def test_a_wildcard_in_a_label_stands_between_those_of_whole_labels():
    wide = rule("wide", host="*.svc.cluster.local")
    part = rule("part", host="*views.demo.svc.cluster.local")
    other = rule("other", host="*news.demo.svc.cluster.local")
    engine = objects.engine(wide, part, other)

    assert chosen(engine) == ["demo/part"]

    engine.commit([put(rule("near", host="*.demo.svc.cluster.local"))])

    assert chosen(engine) == ["demo/part"]

    engine.commit([put(rule("exact"))])

    assert chosen(engine) == ["demo/exact"]

    engine.commit([objects.gone(rule("exact")), objects.gone(part)])

    assert chosen(engine) == ["demo/near"]


def test_a_rule_that_is_not_exported_is_for_its_own_namespace():
    engine = objects.engine(rule(exportTo=["."]))

    assert chosen(engine, "demo") == ["demo/reviews"]
    assert chosen(engine, "client") == []


def test_the_meshs_default_of_export_to_holds_for_rules():
    engine = objects.engine(rule())
    engine.commit([settings(default_destination_rule_export_to=(".",))])

    assert chosen(engine, "client") == []


def test_rules_of_one_host_are_merged_the_older_first():
    old = rule("old", subsets={"v1": {"version": "v1"}}, created=1.0)
    new = rule(
        "new",
        subsets={"v1": {"version": "other"}, "v2": {"version": "v2"}},
        trafficPolicy={"loadBalancer": {"simple": "ROUND_ROBIN"}},
        created=2.0,
    )
    engine = objects.engine(new, old)
    keys = (old.key, new.key)

    assert chosen(engine) == ["demo/old", "demo/new"]
    assert engine.get(rules.subset_names, keys) == ("v1", "v2")
    assert engine.get(rules.subset_labels, keys, "v1") == (("version", "v1"),)
    assert engine.get(rules.subset_labels, keys, "v9") is None
    assert engine.get(rules.policy, keys, "v1", 9080).balance is ir.Balance.ROUND_ROBIN


def selective(name: str, labels: dict[str, str], **spec: Any) -> Any:
    return rule(name, workloadSelector={"matchLabels": labels}, **spec)


def test_a_rule_with_a_selector_is_for_those_workloads_of_its_namespace_alone():
    mine = selective("mine", {"app": "web"}, host=REVIEWS, subsets={"mine": {}})
    engine = objects.engine(service(), mine)
    name = f"outbound|9080|mine|{REVIEWS}"

    def has(namespace: str, role: ir.Role = ir.Role.SIDECAR, **labels: str) -> bool:
        who = ir.Identity(role=role, namespace=namespace, labels=tuple(labels.items()))
        return name in refs(engine, engine.get(placement, who).view)

    assert has("demo", app="web", version="v1")
    assert has("demo", ir.Role.GATEWAY, app="web")
    assert not has("demo", app="other")
    assert not has("client", app="web")


def test_a_rule_that_selects_the_caller_goes_first_and_the_others_fill_in():
    both = {"loadBalancer": {"simple": "RANDOM"}}
    old = rule("old", subsets={"v1": {}}, trafficPolicy=both, created=1.0)
    own = {"loadBalancer": {"simple": "ROUND_ROBIN"}}
    new = selective("new", {"app": "web"}, trafficPolicy=own, created=2.0)
    engine = objects.engine(service(), old, new)

    selected = engine.get(clusters.rules_for, REVIEWS, "demo", "demo", (new.key,))

    assert selected == (new.key, old.key)
    assert chosen(engine) == ["demo/old"]
    assert engine.get(rules.policy, selected, "v1", 9080).balance is ir.Balance.ROUND_ROBIN


def test_a_change_of_what_a_selective_rule_says_places_no_proxy_anew():
    engine = objects.engine(service(), selective("mine", {"app": "web"}))
    who = ir.Identity(role=ir.Role.SIDECAR, namespace="demo", labels=(("app", "web"),))
    engine.watch(placement, who)

    counts = ran(engine, put(selective("mine", {"app": "web"}, subsets={"v1": {}})))

    assert counts == {"selector": 1}


# Outbound


def test_each_port_and_subset_is_a_cluster():
    ports = [
        {"name": "http", "port": 9080},
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "tcp-x", "port": 90},
    ]
    engine = objects.engine(service(ports=ports), rule(subsets={"v1": {"version": "v1"}}))

    assert list(refs(engine)) == [
        f"outbound|90||{REVIEWS}",
        f"outbound|90|v1|{REVIEWS}",
        f"outbound|9080||{REVIEWS}",
        f"outbound|9080|v1|{REVIEWS}",
    ]


def test_a_cluster_has_istios_defaults():
    found = cluster(objects.engine(service()))

    assert found == ir.Cluster(
        name=f"outbound|9080||{REVIEWS}",
        resolution=ir.Resolution.ENDPOINTS,
        balance=ir.Balance.LEAST_REQUEST,
        connect_timeout=10.0,
        http1=True,
        service=REVIEWS,
        namespace="demo",
        port="http",
        origin=(service().key,),
    )


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("http", (True, False, False)),
        ("grpc", (False, True, False)),
        ("web", (False, False, True)),
        ("tcp", (False, False, False)),
    ],
)
def test_the_protocol_upstream(name, spoken):
    found = cluster(objects.engine(service(ports=[{"name": name, "port": 9080}])))

    assert (found.http1, found.http2, found.detected) == spoken


def test_a_subsets_policy_replaces_the_hosts_block_by_block():
    policy = {
        "loadBalancer": {"simple": "RANDOM"},
        "connectionPool": {"tcp": {"connectTimeout": 3.0}},
    }
    shaped = rule(trafficPolicy=policy)
    subset = {"name": "v1", "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}}
    engine = objects.engine(
        service(),
        objects.made(
            "DestinationRule",
            "reviews",
            {
                "host": "reviews",
                "trafficPolicy": policy,
                "subsets": [subset],
            },
        ),
    )

    base, v1 = cluster(engine), cluster(engine, f"outbound|9080|v1|{REVIEWS}")

    assert (base.balance, base.connect_timeout) == (ir.Balance.RANDOM, 3.0)
    assert (v1.balance, v1.connect_timeout) == (ir.Balance.ROUND_ROBIN, 3.0)
    assert base.origin == (shaped.key, service().key)


def test_a_block_of_a_subset_is_not_filled_from_the_hosts():
    policy = {
        "loadBalancer": {"simple": "ROUND_ROBIN"},
        "connectionPool": {"tcp": {"connectTimeout": 3.0}},
    }
    own = {
        "loadBalancer": {"localityLbSetting": {"enabled": True}},
        "connectionPool": {"http": {"maxRetries": 1}},
    }
    body = {"host": "reviews", "trafficPolicy": policy}
    subset = {"name": "v1", "trafficPolicy": own}
    made = objects.made("DestinationRule", "reviews", {**body, "subsets": [subset]})

    v1 = cluster(objects.engine(service(), made), f"outbound|9080|v1|{REVIEWS}")

    assert (v1.balance, v1.connect_timeout) == (ir.Balance.LEAST_REQUEST, 10.0)


def test_the_meshs_connect_timeout_holds_without_a_rule():
    engine = objects.engine(service())
    engine.commit([settings(connect_timeout=4.0)])

    assert cluster(engine).connect_timeout == 4.0


@pytest.mark.parametrize(
    "engine",
    [
        objects.engine(service(ip="None")),
        objects.engine(service(), rule(trafficPolicy={"loadBalancer": {"simple": "PASSTHROUGH"}})),
        objects.engine(entry(hosts=(REVIEWS,), ports=[{"number": 9080, "name": "http"}])),
    ],
    ids=["headless", "passthrough", "none"],
)
def test_where_the_caller_was_going(engine):
    found = cluster(engine)

    assert (found.resolution, found.balance) == (ir.Resolution.ORIGINAL, ir.Balance.ORIGINAL)


@pytest.mark.parametrize(
    "who",
    [
        ir.View(ir.Role.GATEWAY, "demo"),
        ir.View(ir.Role.SIDECAR, "demo", ir.Interception.NONE),
    ],
    ids=["gateway", "uncaptured"],
)
def test_where_nothing_tells_where_a_caller_was_going_an_endpoint_is_picked(who):
    engine = objects.engine(service(ip="None"))
    found = cluster(engine, who=who)

    assert (found.resolution, found.balance) == (
        ir.Resolution.ENDPOINTS,
        ir.Balance.LEAST_REQUEST,
    )
    assert engine.get(clusters.ref, who, found.name) == refs(engine, who)[found.name]


def test_clusters_of_hosts_with_known_endpoints_are_shared_by_all_proxies():
    engine = objects.engine(service())

    assert refs(engine, ir.View(ir.Role.GATEWAY, "demo")) == refs(engine)


def test_names_to_resolve_stand_in_the_cluster():
    written = [
        {"address": "b.example.com", "labels": {"version": "v1"}},
        {"address": "a.example.com"},
    ]
    external = entry(resolution="DNS", endpoints=written)
    subset = rule(host="api.example.com", subsets={"v1": {"version": "v1"}})
    engine = objects.engine(external, subset)

    base = cluster(engine, "outbound|80||api.example.com")
    v1 = cluster(engine, "outbound|80|v1|api.example.com")

    assert [one.address for one in base.endpoints] == ["a.example.com", "b.example.com"]
    assert [one.address for one in v1.endpoints] == ["b.example.com"]


@pytest.mark.parametrize("resolution", ["DNS", "DNS_ROUND_ROBIN"])
def test_nothing_to_resolve_is_an_empty_cluster(resolution):
    found = cluster(
        objects.engine(entry(hosts=("*.a.com",), resolution=resolution)), "outbound|80||*.a.com"
    )

    assert found.static
    assert (found.resolution, found.endpoints) == (ir.Resolution.ENDPOINTS, ())


def test_a_cluster_whose_port_or_subset_is_gone_is_none():
    engine = objects.engine(service(), rule(subsets={"v1": {}}))
    ref = refs(engine)[f"outbound|9080|v1|{REVIEWS}"]

    engine.commit([put(rule())])
    assert engine.get(clusters.cluster, ref) is None

    engine.commit([objects.gone(service())])
    assert engine.get(clusters.cluster, ref) is None


def test_a_name_means_the_cluster_that_the_list_has():
    scope = sidecar("./*")
    own = rule("own", "client", host=REVIEWS, subsets={"mine": {}})
    engine = objects.engine(service(), service("x", "client"), rule(subsets={"v1": {}}), own, scope)

    for who in (view(), view("client"), view("demo", scope), view("stranger")):
        for name, ref in refs(engine, who).items():
            assert engine.get(clusters.ref, who, name) == ref
    for name in ("x", "outbound|9080|v9|" + REVIEWS, "outbound|1||" + REVIEWS, "outbound|a||b"):
        assert engine.get(clusters.ref, view(), name) is None


def test_subsets_are_those_that_the_client_sees():
    own = rule("own", "client", host=REVIEWS, subsets={"mine": {}})
    engine = objects.engine(service(), rule(subsets={"v1": {}, "v0": {}}), own)
    host_id = engine.get(visibility.visible_host, view(), REVIEWS)

    assert engine.get(clusters.subsets, host_id, "demo") == ("v1", "v0")
    assert engine.get(clusters.subsets, host_id, "client") == ("mine",)


# Fixed and inbound


def test_gateways_have_no_passthrough():
    engine = objects.engine()
    sidecars = engine.get(clusters.fixed_clusters, ir.Role.SIDECAR)
    gateways = engine.get(clusters.fixed_clusters, ir.Role.GATEWAY)

    assert [one.name for one in sidecars] == ["BlackHoleCluster", "PassthroughCluster"]
    assert [one.name for one in gateways] == ["BlackHoleCluster"]


def inbound(interception, *ports):
    own = ir.Inbound("demo", interception, ports)
    return {one.name: one for one in objects.engine().get(clusters.inbound_clusters, own)}


def test_captured_calls_go_on_to_where_they_were_going():
    port = ir.InboundPort(number=9080, protocol=ir.Protocol.HTTP, host=REVIEWS, service_port=80)
    found = inbound(ir.Interception.REDIRECT, port)

    own = found["inbound|9080||"]
    assert list(found) == ["inbound|9080||", "InboundPassthroughCluster"]
    assert (own.resolution, own.source, own.http1) == (ir.Resolution.ORIGINAL, "127.0.0.6", True)
    assert found["InboundPassthroughCluster"].source == "127.0.0.6"


@pytest.mark.parametrize(
    ("interception", "endpoint", "expected"),
    [
        (ir.Interception.NONE, "", ("127.0.0.1", 9080)),
        (ir.Interception.NONE, "127.0.0.1:8080", ("127.0.0.1", 8080)),
        (ir.Interception.REDIRECT, "0.0.0.0:8080", ("127.0.0.1", 8080)),
        (ir.Interception.REDIRECT, "[::1]:8080", ("::1", 8080)),
        (ir.Interception.REDIRECT, "unix:///run/app.sock", ("unix:///run/app.sock", 0)),
    ],
)
def test_an_application_that_is_called_by_address(interception, endpoint, expected):
    port = ir.InboundPort(number=9080, protocol=ir.Protocol.AUTO, endpoint=endpoint)

    found = inbound(interception, port)["inbound|9080||"]

    (one,) = found.endpoints
    assert found.static
    assert found.source == ""
    assert (one.address, one.ports[found.port]) == expected


def test_an_application_at_the_workloads_own_address_is_reached_past_the_capture():
    port = ir.InboundPort(number=9080, protocol=ir.Protocol.HTTP, endpoint="10.1.1.1:8080")

    captured = inbound(ir.Interception.REDIRECT, port)["inbound|9080||"]
    open_ = inbound(ir.Interception.NONE, port)["inbound|9080||"]

    assert (captured.source, open_.source) == ("127.0.0.6", "")
    assert captured.static


# Diagnostics


def test_a_rule_about_nobody_is_told():
    lost = rule("lost", host="nobody")
    known = rule("known")
    wide = rule("wide", host="*.svc.cluster.local")
    engine = objects.engine(service(), lost, known, wide)

    assert engine.get(clusters.rule_check, lost.key) == ()
    (note,) = engine.why(clusters.rule_check, lost.key).notes
    assert (note.code, note.path) == ("PLT3004", "spec.host")
    for fine in (known, wide):
        assert [host.name for host in engine.get(clusters.rule_check, fine.key)] == [REVIEWS]
        assert engine.why(clusters.rule_check, fine.key).notes == ()


def test_a_rule_re_runs_what_it_shapes_and_nothing_else():
    engine = objects.engine(service(), service("ratings"), rule(subsets={"v1": {"version": "v1"}}))
    engine.watch(clusters.outbound_clusters, view())
    for ref in refs(engine).values():
        engine.watch(clusters.cluster, ref)

    moved = rule(subsets={"v1": {"version": "other"}})
    counts = ran(engine, put(moved))

    assert counts == {
        "rule": 1,
        "merged": 1,
        "subset_names": 1,
        "subset_labels": 1,
        "policy": 2,
        "origin": 1,
        "calling": 1,
        "cluster": 1,
    }


def test_an_endpoint_is_no_business_of_clusters():
    engine = objects.engine(service(), endpoint_slice())
    engine.watch(clusters.outbound_clusters, view())
    for ref in refs(engine).values():
        engine.watch(clusters.cluster, ref)

    assert ran(engine, put(endpoint_slice(addresses=("10.0.0.9",)))) == {}
