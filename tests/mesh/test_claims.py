"""Who has an address: told for one host without its neighbours, and as the listeners have it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from plait.config.diagnostics import Diagnostic
from plait.config.meta import Key
from plait.mesh import called, checks, listener_plans, status
from tests.support.mesh import Mesh, key, service, stamp

PORTS = (
    (80, "HTTP"),
    (80, "TCP"),
    (80, ""),
    (3306, "TCP"),
    (3306, "TCP"),
    (3306, ""),
    (443, "TLS"),
    (443, "TCP"),
)
ADDRESSES = ("10.9.9.8", "10.9.9.9", "10.8.0.0/16", "192.0.2.1")
EXPORTS = ("", "", "", "exportTo: ['.']", "exportTo: [other]")
SCOPES = (
    "",
    "egress: [{hosts: ['./*']}]",
    "egress: [{hosts: ['*/h1.test', '~other/*']}]",
    "egress: [{port: {number: 3306, protocol: TCP, name: p}, hosts: ['*/*']}, {hosts: ['./*']}]",
)


def entry(name: str, ports: list[tuple[int, str]], spec: str = "", **meta: Any) -> str:
    written = ", ".join(
        f"{{number: {number}, name: p{number}, protocol: '{protocol}'}}"
        for number, protocol in ports
    )
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: {name}
  namespace: {meta.get("namespace", "demo")}
  creationTimestamp: '{stamp(meta.get("created", 0))}'
spec:
  hosts: [{meta.get("host", f"{name}.test")}]
  ports: [{written}]
  resolution: STATIC
  endpoints: [{{address: 192.0.2.7}}]
  {spec}
"""


def slice_of(name: str, addresses: list[str]) -> str:
    endpoints = ", ".join(f"{{addresses: [{one}]}}" for one in addresses)
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints: [{endpoints}]
ports: [{{name: tcp, port: 3306}}]
"""


def some_mesh(seed: int) -> tuple[str, ...]:
    """Hosts that share ports, addresses, names and endpoints, seen by all or few."""
    choose = random.Random(seed)
    texts = []
    for i in range(10):
        ports = list(dict(choose.sample(PORTS, 2)).items())
        addresses = choose.sample(ADDRESSES, choose.choice((0, 0, 1, 2)))
        spec = f"addresses: {addresses}\n  {choose.choice(EXPORTS)}"
        host = choose.choice(("h1.test", "h2.test", "web1.demo.svc.cluster.local", f"e{i}.test"))
        where = choose.choice(("demo", "demo", "other"))
        age = choose.randrange(3)
        texts.append(entry(f"e{i}", ports, spec, host=host, namespace=where, created=age))
    for i in range(4):
        ip = choose.choice(("", "None", "None", "10.9.9.9"))
        port = choose.choice(("tcp:3306", ":3306", "tcp:80", "http:80"))
        texts.append(service(f"web{i}", port, ip=ip, created=choose.randrange(3)))
        texts.append(slice_of(f"web{i}", choose.sample(("192.0.2.1", "192.0.2.2"), 1)))
    if scope := choose.choice(SCOPES):
        texts.append(
            "apiVersion: networking.istio.io/v1\nkind: Sidecar\n"
            f"metadata: {{name: default}}\nspec:\n  {scope}\n"
        )
    return tuple(texts)


def told(mesh: Mesh, *call: Any) -> set[Diagnostic]:
    """What a call and all below it say of addresses."""
    notes = mesh.engine.get(below, *call)
    return {note for note in notes if isinstance(note, Diagnostic) and note.code == "PLT3001"}


def below(q: Any, query: Any, *args: Any) -> tuple[Any, ...]:
    return tuple(q.notes_of(query, *args))


def owners(mesh: Mesh) -> list[Any]:
    tables = mesh.engine.tables
    return [one for kind in ("Service", "ServiceEntry") for one in tables[kind].rows]


@pytest.mark.parametrize("seed", range(60))
def test_each_host_is_told_what_the_listeners_of_its_namespace_say_of_it(seed: int) -> None:
    mesh = Mesh(*some_mesh(seed))
    here = [one for one in owners(mesh) if one.namespace == "demo"]
    view = mesh.view()
    listeners = set[Diagnostic]()
    for number in mesh.engine.get(called.by_port, view):
        listeners |= told(mesh, listener_plans.captured_plans, view, number)

    found = {one: told(mesh, checks.host, one) for one in here}

    for one in here:
        expected = {note for note in listeners if note.subject == one}
        assert {note for note in found[one] if note.subject == one} == expected


def runs(*texts: str, of: Key) -> int:
    """How many queries one look at an object takes where nobody has looked before."""
    mesh = Mesh(*texts)
    mesh.engine.get(status.standing, of)
    return sum(mesh.engine.runs.values())


@pytest.mark.parametrize("neighbours", [1, 50])
def test_hosts_on_the_same_port_are_not_looked_at(neighbours: int) -> None:
    requests = [entry(f"n{i}", [(80, "HTTP")]) for i in range(neighbours)]
    others = [entry(f"n{i}", [(80, "")], f"addresses: [10.1.0.{i}]") for i in range(neighbours)]
    mine = entry("mine", [(80, "HTTP")])
    own = entry("mine", [(80, "")], "addresses: [10.2.0.1]")

    assert runs(mine, *requests, of=key("ServiceEntry", "mine")) == 38
    assert runs(own, *others, of=key("ServiceEntry", "mine")) == 44


def test_only_the_host_with_the_same_address_is_looked_at() -> None:
    others = [entry(f"n{i}", [(80, "TCP")], f"addresses: [10.1.0.{i}]") for i in range(50)]
    mine = entry("mine", [(80, "TCP")], "addresses: [10.1.0.7]", created=9)
    mesh = Mesh(mine, *others)

    findings = mesh.engine.get(status.standing, key("ServiceEntry", "mine")).findings

    assert [(one.code, one.related) for one in findings] == [
        ("PLT3001", (key("ServiceEntry", "n7"),))
    ]
    assert sum(mesh.engine.runs.values()) == 62


def test_a_host_is_told_when_who_has_its_address_goes() -> None:
    mesh = Mesh(
        entry("old", [(80, "TCP")], created=1),
        entry("young", [(80, "TCP")], created=2),
    )
    young = (status.standing, key("ServiceEntry", "young"))
    before = mesh.engine.watch(*young).findings

    changed = mesh.delete(key("ServiceEntry", "old"))

    assert [one.code for one in before] == ["PLT3001"]
    assert (young[0], (young[1],)) in changed
    assert mesh.engine.get(*young).findings == ()
