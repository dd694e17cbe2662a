"""EndpointSlices as Kubernetes writes them."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from plait.config.meta import Object
from plait.controllers import slices
from plait.controllers.actions import Drop, Put
from tests.support.objects import engine, gone, made, pod, put, ran, service

PORTS = [{"name": "http", "port": 80, "targetPort": "web", "appProtocol": "http"}]


def app(address: str, number: int = 8080, **more: Any) -> Object[Any]:
    ports = [{"name": "web", "containerPort": number}]
    containers = [{"name": "a", "ports": ports}]
    return pod(address, labels={"app": "web"}, containers=containers, **more)


def web(**spec: Any) -> Object[Any]:
    return service("web", **{"ports": PORTS, "selector": {"app": "web"}, **spec})


def wanted(*rows: Object[Any]) -> list[Object[Any]]:
    return list(engine(*rows).get(slices.serving, web().key).wanted)


def test_pods_are_endpoints_with_their_own_numbers():
    (one,) = wanted(web(), app("10.0.0.1"), app("10.0.0.2", ready=False), pod("10.0.0.3"))

    assert [port.port for port in one.spec.ports] == [8080]
    assert one.spec.ports[0].app_protocol == "http"
    assert one.labels["kubernetes.io/service-name"] == "web"
    found = {e.addresses[0]: e.conditions for e in one.spec.endpoints}
    assert {address: (c.ready, c.serving) for address, c in found.items()} == {
        "10.0.0.1": (True, True),
        "10.0.0.2": (False, False),
    }
    assert one.spec.endpoints[0].target_ref is not None
    assert one.spec.endpoints[0].target_ref.name == "pod-10.0.0.1"


def test_pods_whose_ports_have_other_numbers_are_in_another_slice():
    found = wanted(web(), app("10.0.0.1"), app("10.0.0.2", 9090))

    assert sorted(one.spec.ports[0].port for one in found) == [8080, 9090]
    assert len({one.key for one in found}) == 2


def test_a_pod_without_the_named_port_has_none_of_it():
    (one,) = wanted(web(), pod("10.0.0.1", labels={"app": "web"}))

    assert one.spec.ports == ()


def test_pods_that_are_not_ready_are_published_where_that_is_wanted():
    ends = structs.replace(app("10.0.0.1", ready=False), deleted=1.0)
    (one,) = wanted(web(publishNotReadyAddresses=True), ends)

    conditions = one.spec.endpoints[0].conditions
    assert (conditions.ready, conditions.serving, conditions.terminating) == (True, True, True)


def test_services_that_select_nothing_or_are_elsewhere_have_none():
    assert wanted(web(selector={}), app("10.0.0.1")) == []
    assert wanted(web(type="ExternalName", externalName="x.test"), app("10.0.0.1")) == []


def test_a_pod_with_a_name_of_its_own_keeps_it():
    body = {
        "spec": {"hostname": "db-0", "subdomain": "web", "containers": [{"name": "a"}]},
        "status": {"podIP": "10.0.0.1"},
    }
    (one,) = wanted(web(clusterIP="None"), made("Pod", "db-0", body, labels={"app": "web"}))

    assert one.spec.endpoints[0].hostname == "db-0"
    assert one.labels["service.kubernetes.io/headless"] == ""


def test_only_what_changed_is_written():
    world = engine(web(), app("10.0.0.1"))
    (put_,) = slices.step(world.get(slices.serving, web().key)).actions
    assert isinstance(put_, Put)
    there = structs.replace(put_.object, uid="s", created=5.0)
    world.commit([put(there)])
    assert slices.step(world.get(slices.serving, web().key)).actions == ()
    world.commit([gone(web())])

    assert slices.step(world.get(slices.serving, web().key)).actions == (Drop(key=there.key),)


def test_slices_of_others_are_left_alone():
    foreign = made("EndpointSlice", "web-x", {}, labels={"kubernetes.io/service-name": "web"})
    world = engine(foreign)

    assert slices.step(world.get(slices.serving, web().key)).actions == ()


def test_another_workload_of_the_namespace_touches_no_slice():
    world = engine(web(), app("10.0.0.1"), pod("10.0.0.9", labels={"app": "other"}))
    world.watch(slices.serving, web().key)

    assert "serving" not in ran(world, put(pod("10.0.0.9", labels={"app": "other"}, ready=False)))
