"""Who sees which host."""

from __future__ import annotations

import pytest

from plait.mesh import ir, visibility
from tests.support import objects
from tests.support.objects import (
    entry,
    gone,
    made,
    put,
    ran,
    rule,
    service,
    settings,
    sidecar,
    view,
)


def seen(engine, namespace="demo", scope=None):
    return [host.name for host in engine.get(visibility.visible, view(namespace, scope))]


def names(engine, who):
    found = engine.get(visibility.visible, who)
    for host in found:
        assert engine.get(visibility.visible_host, who, host.name) == host
    return [host.name for host in found]


@pytest.mark.parametrize(
    ("export_to", "in_own", "in_other"),
    [
        ("", True, True),
        ("*", True, True),
        (".", True, False),
        ("~", False, False),
        ("other", False, True),
        (".,other", True, True),
    ],
)
def test_export_to_says_who_sees_a_service(export_to, in_own, in_other):
    engine = objects.engine(service(export_to=export_to))

    assert bool(names(engine, view("demo"))) == in_own
    assert bool(names(engine, view("other"))) == in_other


def test_a_service_entry_has_all_its_hosts():
    engine = objects.engine(entry(hosts=("b.com", "*.a.com")))

    assert names(engine, view()) == ["*.a.com", "b.com"]


def test_the_meshs_default_holds_for_those_that_say_nothing():
    engine = objects.engine(service(), service("open", export_to="*"))
    engine.commit([settings(default_service_export_to=(".",))])

    assert names(engine, view("other")) == ["open.demo.svc.cluster.local"]
    assert len(names(engine, view("demo"))) == 2


def test_a_service_goes_before_service_entries_and_those_by_age():
    name = "reviews.demo.svc.cluster.local"
    young = entry("young", "x", hosts=(name,), created=2.0)
    old = entry("old", "y", hosts=(name,), created=1.0)
    own = service(created=9.0)
    engine = objects.engine(young, old, own)

    (host,) = engine.get(visibility.visible, view())

    assert host.owners == (own.key, old.key, young.key)
    assert host.namespace == "demo"


def test_owners_that_a_view_does_not_see_are_not_merged():
    shown = entry("shown", hosts=("a.com",))
    hidden = entry("hidden", "other", hosts=("a.com",), exportTo=["."], created=-1.0)
    engine = objects.engine(shown, hidden)

    assert engine.get(visibility.visible, view()) == (ir.HostId("a.com", (shown.key,)),)
    assert engine.get(visibility.visible, view("other")) == (
        ir.HostId("a.com", (hidden.key, shown.key)),
    )


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*/*"], ["a.other", "api.example.com", "b.demo", "c.third"]),
        (["./*"], ["api.example.com", "b.demo"]),
        (["other/*"], ["a.other"]),
        (["other/a.other.svc.cluster.local"], ["a.other"]),
        (["demo/a.other.svc.cluster.local"], []),
        (["*/a.other.svc.cluster.local", "./*"], ["a.other", "api.example.com", "b.demo"]),
        (["*/*.example.com"], ["api.example.com"]),
        (["~/*"], []),
        (["*/*", "~other/*"], ["api.example.com", "b.demo", "c.third"]),
    ],
)
def test_a_sidecar_shows_what_its_egress_hosts_name(patterns, expected):
    scope = sidecar(*patterns)
    engine = objects.engine(
        scope,
        service("a", "other"),
        service("b", "demo"),
        service("c", "third"),
        service("hidden", "other", export_to="."),
        entry(),
    )

    found = names(engine, view(scope=scope))

    assert [name.removesuffix(".svc.cluster.local") for name in found] == expected


def test_a_scope_shows_where_its_routes_lead():
    scope = sidecar("./*")
    route = made(
        "VirtualService",
        "to-other",
        {
            "hosts": ["b"],
            "http": [{"route": [{"destination": {"host": "a.other.svc.cluster.local"}}]}],
        },
    )
    engine = objects.engine(scope, service("b"), service("a", "other"), service("c", "other"))
    engine.commit([put(route)])

    assert names(engine, view(scope=scope)) == [
        "a.other.svc.cluster.local",
        "b.demo.svc.cluster.local",
    ]


def test_views_that_see_the_same_share_the_work():
    engine = objects.engine(service(), service("own", "private", export_to="."))
    engine.watch(visibility.visible, view("one"))
    engine.watch(visibility.visible, view("two"))

    assert engine.runs[visibility.exported] == 1


def test_it_stays_quiet_when_what_changes_does_not_matter():
    endpoints = [{"address": "10.0.0.1"}]
    engine = objects.engine(service(), entry(resolution="STATIC", endpoints=endpoints), rule())
    engine.watch(visibility.visible, view())

    moved = entry(resolution="STATIC", endpoints=[{"address": "10.0.0.2"}])

    assert ran(engine, put(moved), put(service(ip="10.96.0.99"))) == {"definition": 2}


def test_a_host_comes_and_goes():
    engine = objects.engine(service())
    call = (visibility.visible, (view(),))
    engine.watch(visibility.visible, view())

    assert engine.commit([put(service("ratings"))]) == {call}
    assert engine.commit([gone(service("ratings"))]) == {call}
    assert seen(engine) == ["reviews.demo.svc.cluster.local"]


def test_a_host_that_nobody_defines_is_none():
    engine = objects.engine(service())

    assert engine.get(visibility.visible_host, view(), "nobody.com") is None
    assert ir.HostId("x", (service().key,)).namespace == "demo"
