"""What a host is."""

from __future__ import annotations

import pytest

from plait.mesh import hosts, ir, protocols, visibility
from plait.mesh.ir import Protocol
from tests.support import objects
from tests.support.objects import entry, service, view

REVIEWS = "reviews.demo.svc.cluster.local"


def host(engine, name=REVIEWS):
    host_id = engine.get(visibility.visible_host, view(), name)
    return engine.get(hosts.host, host_id), engine.why(hosts.host, host_id).notes


@pytest.mark.parametrize(
    ("name", "number", "transport", "declared", "expected"),
    [
        ("http", 80, "TCP", "", Protocol.HTTP),
        ("http-web", 80, "TCP", "", Protocol.HTTP),
        ("HTTP2-x", 80, "TCP", "", Protocol.HTTP2),
        ("grpc", 80, "TCP", "", Protocol.GRPC),
        ("grpc-web", 80, "TCP", "", Protocol.HTTP),
        ("https-a", 443, "TCP", "", Protocol.HTTPS),
        ("tls", 443, "TCP", "", Protocol.TLS),
        ("tcp-a", 80, "TCP", "", Protocol.TCP),
        ("mysql", 80, "TCP", "", Protocol.TCP),
        ("web", 80, "TCP", "", Protocol.AUTO),
        ("", 80, "TCP", "", Protocol.AUTO),
        ("httpx", 80, "TCP", "", Protocol.AUTO),
        ("", 3306, "TCP", "", Protocol.TCP),
        ("", 27017, "TCP", "", Protocol.TCP),
        ("http", 3306, "TCP", "", Protocol.HTTP),
        ("http", 53, "UDP", "", Protocol.UDP),
        ("tcp", 80, "TCP", "http", Protocol.HTTP),
        ("tcp", 80, "TCP", "kubernetes.io/h2c", Protocol.HTTP2),
        ("tcp", 80, "TCP", "kubernetes.io/ws", Protocol.HTTP),
        ("tcp", 80, "TCP", "kubernetes.io/wss", Protocol.HTTPS),
        ("http", 80, "TCP", "acme.com/x", Protocol.AUTO),
    ],
)
def test_the_protocol_of_a_service_port(name, number, transport, declared, expected):
    assert protocols.of_service_port(name, number, transport, declared) is expected


def test_a_service_has_its_ports_and_addresses():
    ports = [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "tcp-x", "port": 90}]
    engine = objects.engine(service(ports=ports, clusterIPs=["10.96.0.1", "fd00::1"]))

    found, _ = host(engine)

    assert found.ports == (
        ir.Port(number=80, name="http", protocol=Protocol.HTTP, target="web"),
        ir.Port(number=90, name="tcp-x", protocol=Protocol.TCP),
    )
    assert found.addresses == ("10.96.0.1", "fd00::1")
    assert found.resolution is ir.Resolution.ENDPOINTS


def test_a_headless_service_goes_where_the_caller_was_going():
    found, _ = host(objects.engine(service(ip="None")))

    assert found.headless
    assert found.addresses == ()
    assert found.resolution is ir.Resolution.ORIGINAL


def test_an_external_name_is_looked_up():
    external = service(ip="", type="ExternalName", externalName="db.example.com")
    found, _ = host(objects.engine(external))

    assert found.resolution is ir.Resolution.DNS
    assert found.external


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("NONE", ir.Resolution.ORIGINAL),
        ("STATIC", ir.Resolution.ENDPOINTS),
        ("DNS", ir.Resolution.DNS),
        ("DNS_ROUND_ROBIN", ir.Resolution.DNS_ROUND_ROBIN),
        ("DYNAMIC_DNS", ir.Resolution.ORIGINAL),
    ],
)
def test_the_resolution_of_a_service_entry(written, expected):
    engine = objects.engine(entry(resolution=written, addresses=["10.1.0.0/16"]))

    found, _ = host(engine, "api.example.com")

    assert found.resolution is expected
    assert found.addresses == ("10.1.0.0/16",)
    assert found.external


def test_owners_are_merged_and_told_where_they_disagree():
    mine = service(created=1.0)
    ports = [
        {"number": 9080, "name": "db", "protocol": "TCP"},
        {"number": 9090, "name": "more", "protocol": "HTTP"},
    ]
    other = entry(hosts=(REVIEWS,), ports=ports, addresses=["10.9.9.9"], created=0.5)
    found, notes = host(objects.engine(mine, other))

    assert [(port.number, port.protocol) for port in found.ports] == [
        (9080, Protocol.HTTP),
        (9090, Protocol.HTTP),
    ]
    assert found.addresses == ("10.96.0.1", "10.9.9.9")
    assert found.created == 0.5
    assert [(note.code, note.subject, note.path) for note in notes] == [
        ("PLT3003", other.key, "spec.ports[0]")
    ]
    assert "9080" in notes[0].message


def test_udp_beside_tcp_on_one_number_is_no_conflict():
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53},
    ]
    found, notes = host(objects.engine(service(ports=ports)))

    assert [(port.number, port.protocol) for port in found.ports] == [(53, Protocol.TCP)]
    assert notes == ()


def test_a_host_whose_owners_are_gone_has_no_ports():
    engine = objects.engine()

    assert engine.get(hosts.host, ir.HostId("x", (service().key,))).ports == ()
