"""What DNS names mean to callers, and the addresses that are made up for hosts."""

from __future__ import annotations

import pytest

from plait.mesh import addresses, called, dns, ir, listener_plans, visibility
from tests.support import objects
from tests.support.objects import endpoint_slice, entry, gone, made, put, ran, service, view

REVIEWS = "reviews.demo.svc.cluster.local"
AUTOMATIC, WRITTEN = ir.Addressing.AUTOMATIC, ir.Addressing.WRITTEN


def records(engine, name=REVIEWS, addressing=AUTOMATIC):
    host_id = engine.get(visibility.visible_host, view(), name)
    return dict(engine.get(dns.records, host_id, addressing))


def external(name, **spec):
    return made("Service", name, {"type": "ExternalName", **spec})


def asking(**fields):
    return ir.View(ir.Role.SIDECAR, "demo", addressing=AUTOMATIC, **fields)


def test_a_service_means_its_virtual_addresses():
    engine = objects.engine(service(clusterIPs=["10.96.0.1", "fd00::1"]))

    assert records(engine) == {REVIEWS: ("10.96.0.1", "fd00::1")}


def test_a_headless_service_means_its_endpoints_that_are_ready():
    addresses_ = ("10.0.0.2", "10.0.0.1", "10.0.0.3")
    engine = objects.engine(
        service(ip="None"), endpoint_slice(addresses=addresses_, unready=("10.0.0.3",))
    )

    assert records(engine) == {REVIEWS: ("10.0.0.1", "10.0.0.2")}

    engine.commit([put(endpoint_slice(addresses=("10.0.0.9",)))])
    assert records(engine) == {REVIEWS: ("10.0.0.9",)}


def test_a_headless_service_without_endpoints_is_there_and_means_nothing():
    assert records(objects.engine(service(ip="None"))) == {REVIEWS: ()}


def test_an_endpoint_of_a_headless_service_has_a_name_of_its_own():
    endpoints = [
        {"addresses": ["10.0.0.1"], "hostname": "Db-0"},
        {"addresses": ["10.0.0.2"], "hostname": "db-1", "conditions": {"ready": False}},
    ]
    labels = {"kubernetes.io/service-name": "reviews"}
    engine = objects.engine(
        service(ip="None"),
        made("EndpointSlice", "reviews-a", {"endpoints": endpoints}, labels=labels),
    )

    assert records(engine) == {REVIEWS: ("10.0.0.1",), f"db-0.{REVIEWS}": ("10.0.0.1",)}


def test_an_external_name_is_another_word_for_its_target():
    engine = objects.engine(external("reviews", externalName="api.example.com"))

    assert records(engine) == {REVIEWS: ("api.example.com",)}


def test_an_external_name_with_ports_is_reached_through_the_mesh():
    ports = [{"name": "tcp", "port": 90}]
    engine = objects.engine(external("reviews", externalName="api.example.com", ports=ports))

    assert records(engine)[REVIEWS][0].startswith("240.240.")
    assert records(engine, addressing=WRITTEN) == {REVIEWS: ("api.example.com",)}


@pytest.mark.parametrize("addressing", [AUTOMATIC, WRITTEN])
@pytest.mark.parametrize(
    "spec",
    [
        {"hosts": ["api.example.com"], "resolution": "NONE"},
        {"hosts": ["*.example.com"], "resolution": "STATIC"},
        {"hosts": ["*.example.com"], "resolution": "DYNAMIC_DNS"},
        {"hosts": ["api.example.com"], "resolution": "STATIC", "addresses": ["10.9.0.0/16"]},
        {"hosts": ["api.example.com"], "resolution": "STATIC", "addresses": ["10.9.0"]},
        {"hosts": ["*"], "resolution": "STATIC", "addresses": ["10.9.0.1"]},
    ],
)
def test_what_the_mesh_has_no_address_for_is_left_to_others(spec, addressing):
    engine = objects.engine(entry(**spec))

    assert records(engine, spec["hosts"][0], addressing) == {}


def test_a_written_address_counts_for_wildcards_too():
    engine = objects.engine(entry(hosts=["*.Example.com"], addresses=["10.9.0.1"]))

    assert records(engine, "*.Example.com") == {"*.example.com": ("10.9.0.1",)}


def test_a_host_without_an_address_is_given_one_where_that_is_asked_for():
    engine = objects.engine(entry(resolution="DNS"))

    (found,) = records(engine, "api.example.com")["api.example.com"]
    third, last = found.removeprefix("240.240.").split(".")
    assert 0 <= int(third) <= 255
    assert 1 <= int(last) <= 254
    assert records(engine, "api.example.com", WRITTEN) == {}


def test_a_service_entry_may_refuse_an_address():
    labels = {"networking.istio.io/enable-autoallocate-ip": "false"}
    spec = {"hosts": ["api.example.com"], "resolution": "DNS"}
    engine = objects.engine(made("ServiceEntry", "external", spec, labels=labels))

    assert records(engine, "api.example.com") == {}


def test_a_host_is_reached_at_the_address_it_was_given():
    ports = [{"number": 9000, "name": "tcp", "protocol": "TCP"}]
    engine = objects.engine(
        entry("one", hosts=["one.example.com"], ports=ports, resolution="STATIC"),
        entry("two", hosts=["two.example.com"], ports=ports, resolution="STATIC"),
    )
    given = engine.get(addresses.assigned)

    plans = engine.get(listener_plans.captured_plans, asking(), 9000)
    assert {plan.address for plan in plans} == set(given.values())

    (plan,) = engine.get(listener_plans.captured_plans, view(), 9000)
    assert plan.address == "0.0.0.0"


def test_requests_may_say_the_address_that_a_host_was_given():
    engine = objects.engine(entry(resolution="DNS"))
    (one,) = engine.get(called.on_port, asking(), 80)

    assert called.domains(one, "demo")[-1] == engine.get(addresses.automatic, "api.example.com")


def test_of_two_hosts_that_want_one_address_the_older_keeps_it(monkeypatch):
    monkeypatch.setattr(addresses, "digest", lambda _: "7")
    engine = objects.engine(entry("z", hosts=["z.example.com"], resolution="DNS", created=1.0))
    first = engine.get(addresses.automatic, "z.example.com")

    engine.commit([put(entry("a", hosts=["a.example.com"], resolution="DNS", created=2.0))])

    assert engine.get(addresses.automatic, "z.example.com") == first == "240.240.0.8"
    assert engine.get(addresses.automatic, "a.example.com") == "240.240.0.9"


def test_when_there_is_no_room_the_youngest_hosts_have_no_address(monkeypatch):
    monkeypatch.setattr(addresses, "_ROOM", 2)
    rows = [
        entry(str(age), hosts=[f"{age}.example.com"], resolution="DNS", created=float(age))
        for age in range(3)
    ]

    assert set(objects.engine(*rows).get(addresses.assigned)) == {"0.example.com", "1.example.com"}


def test_names_keep_their_addresses_when_others_come_and_go():
    rows = [entry(f"e{i}", hosts=[f"e{i}.example.com"], resolution="DNS") for i in range(300)]
    engine = objects.engine(*rows)
    before = dict(engine.get(addresses.assigned))

    engine.commit([gone(rows[0]), put(entry("new", hosts=["new.example.com"], resolution="DNS"))])

    after = dict(engine.get(addresses.assigned))
    assert len(set(after.values())) == len(after) == 300
    assert {n: a for n, a in after.items() if n in before} == {
        n: a for n, a in before.items() if n != "e0.example.com"
    }


def test_an_endpoint_is_no_reason_to_look_at_other_hosts():
    engine = objects.engine(
        service(ip="None"),
        service("ratings"),
        entry(resolution="DNS"),
        endpoint_slice(),
        endpoint_slice("ratings"),
    )
    for name in (REVIEWS, "ratings.demo.svc.cluster.local", "api.example.com"):
        host_id = engine.get(visibility.visible_host, view(), name)
        engine.watch(dns.records, host_id, AUTOMATIC)

    assert ran(engine, put(endpoint_slice(addresses=("10.0.0.2",)))).get("records") == 1
    assert "records" not in ran(engine, put(endpoint_slice("ratings", ("10.0.0.3",))))


def test_a_new_host_is_no_reason_to_look_at_others_that_keep_their_addresses():
    engine = objects.engine(entry(resolution="DNS"))
    host_id = engine.get(visibility.visible_host, view(), "api.example.com")
    engine.watch(dns.records, host_id, AUTOMATIC)

    found = ran(engine, put(entry("new", hosts=["new.example.com"], resolution="DNS")))

    assert found["assigned"] == 1
    assert "records" not in found
