"""Whatever the order of changes, clusters and endpoints are those of a fresh start."""

from __future__ import annotations

import os
from random import Random

import pytest
from msgspec import structs

from plait.mesh import ir, visibility
from plait.mesh.placement import placement
from plait.xds import clusters, endpoints, hosts, subscriptions
from plait.xds.resource import SECRET
from tests.support import objects
from tests.support.objects import endpoint_slice, entry, pod, rule, service, sidecar, view, workload
from tests.support.pki import Authority

SEED = int(os.environ.get("PLAIT_SEED", "0"))
SPACES = ("a", "b")
NAMES = ("x", "y")
SCOPE = sidecar("./*", "*/y.b.svc.cluster.local", namespace="a")
VIEWS = (view("a"), view("b"), view("elsewhere"), view("a", SCOPE))
PLACED = (
    ir.Identity(role=ir.Role.SIDECAR, namespace="a", labels=(("v", "1"),)),
    ir.Identity(role=ir.Role.GATEWAY, namespace="b"),
)
ROOT = Authority().root.encode()


def anything(random: Random):
    """Some object with some content."""
    space, name, pick = random.choice(SPACES), random.choice(NAMES), random.choice
    host = pick((f"{name}.{space}.svc.cluster.local", "ext.com", "*.com"))
    export_to = pick(((), (".",), ("*",), ("b",), ("~",)))
    labels = pick(({"v": "1"}, {"v": "2"}, {"v": "1", "istio-locality": "r.z"}))
    policy = {"loadBalancer": {"simple": pick(("RANDOM", "PASSTHROUGH"))}}
    named = {"tls": {"mode": "SIMPLE", "credentialName": "s"}}
    made = pick(
        (
            lambda: service(
                name,
                space,
                ip=pick(("10.0.0.1", "None")),
                export_to=",".join(export_to),
                ports=[{"name": pick(("http", "grpc", "p")), "port": pick((80, 81))}],
                selector=pick(({}, {"v": "1"})),
            ),
            lambda: endpoint_slice(
                name, ("1.1.1.1", "1.1.1.2"), space, unready=pick(((), ("1.1.1.1",)))
            ),
            lambda: pod(
                pick(("1.1.1.1", "1.1.1.2")), space, labels=labels, ready=pick((True, False))
            ),
            lambda: workload(name, space, labels=labels, address=pick(("2.1.1.1", "2.1.1.2"))),
            lambda: entry(
                name,
                space,
                hosts=(host,),
                resolution=pick(("NONE", "STATIC", "DNS")),
                exportTo=export_to,
                created=pick((0.0, 1.0)),
                workloadSelector=pick((None, {"labels": {"v": "1"}})),
            ),
            lambda: rule(
                name,
                space,
                host=pick((host, name, "*")),
                subsets=pick(({}, {"one": {"v": "1"}})),
                exportTo=export_to,
                created=pick((0.0, 1.0)),
                trafficPolicy=pick((None, policy, named)),
                workloadSelector=pick((None, {"matchLabels": {"v": "1"}})),
            ),
            lambda: objects.made(
                "Secret", "s", {"data": {"ca.crt": pick((ROOT, b""))}}, namespace=space
            ),
            lambda: SCOPE,
        )
    )()
    return objects.gone(made) if random.random() < 0.3 else objects.put(made)


def everything(engine):
    """All that the views get."""
    found: dict[object, object] = {}
    for name in ("kubernetes://s", "kubernetes://s-cacert"):
        for one in PLACED:
            query, arguments = subscriptions.named(SECRET, name, engine.get(placement, one))
            found[one, name] = engine.get(query, *arguments)
    for who in (*VIEWS, *(engine.get(placement, one).view for one in PLACED)):
        found[who] = seen = engine.get(visibility.visible, who)
        for host in seen:
            assert engine.get(visibility.visible_host, who, host.name) == host
        asking = structs.replace(who, addressing=ir.Addressing.AUTOMATIC)
        for named in engine.get(hosts.visible_names, asking):
            found[asking, named.name] = engine.get(named.query, *named.args)
        for named in engine.get(clusters.outbound_names, who):
            place = ir.Locality()
            found[who, named.name] = (
                engine.get(named.query, *named.args),
                engine.get(endpoints.endpoints, who, place, named.name),
            )
    return found


@pytest.mark.parametrize("history", range(15))
def test_a_history_ends_as_a_fresh_start(history):
    random = Random(SEED * 1000 + history)
    engine, rows = objects.engine(), {}

    for _ in range(25):
        changes = [anything(random) for _ in range(random.randint(1, 4))]
        engine.commit(changes)
        rows.update({(table, key): row for table, key, row in changes})
        found = everything(engine)
        if random.random() < 0.3:
            fresh = objects.engine(*(row for row in rows.values() if row is not None))
            assert found == everything(fresh)

    fresh = objects.engine(*(row for row in rows.values() if row is not None))
    assert everything(engine) == everything(fresh)
    assert not engine.failures()
