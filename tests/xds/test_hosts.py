"""What names mean, as resources."""

from __future__ import annotations

from plait.mesh import ir
from plait.xds import dns_table, hosts, resource, subscriptions
from plait.xds.resource import Absent, Present
from tests.support import objects
from tests.support.objects import endpoint_slice, entry, gone, put, ran, service, sidecar, view

REVIEWS = "reviews.demo.svc.cluster.local"


def table(engine, who=None):
    """All that a view's resolver knows."""
    found: dict[str, tuple[str, ...]] = {}
    for named in engine.get(hosts.visible_names, who or view()):
        answer = engine.get(named.query, *named.args)
        if isinstance(answer, Present):
            assert answer.resource.name == named.name
            found |= dns_table.decode(answer.resource.body)
    return found


def test_a_resolver_knows_the_hosts_that_its_proxy_sees():
    engine = objects.engine(
        service(),
        service("hidden", "other", export_to="."),
        service("db", ip="None"),
        endpoint_slice("db", ("10.0.0.1", "10.0.0.2")),
        entry(resolution="DNS"),
    )

    assert table(engine) == {
        REVIEWS: ("10.96.0.1",),
        "db.demo.svc.cluster.local": ("10.0.0.1", "10.0.0.2"),
    }


def test_a_sidecar_hides_names_as_it_hides_hosts():
    scope = sidecar("./reviews.demo.svc.cluster.local")
    engine = objects.engine(service(), service("ratings"), scope)

    assert set(table(engine, view(scope=scope))) == {REVIEWS}


def test_views_that_see_the_same_share_one_list():
    engine = objects.engine(service())

    first, second = (engine.get(hosts.visible_names, view(space)) for space in ("demo", "other"))

    assert first is second


def test_a_host_that_the_mesh_does_not_answer_for_is_absent():
    engine = objects.engine(entry(resolution="NONE"))

    (named,) = engine.get(hosts.visible_names, view())
    assert engine.get(named.query, *named.args) == Absent()


def test_one_name_can_be_asked_for():
    engine = objects.engine(service())
    placed = ir.Placement(view=view())

    query, arguments = subscriptions.named(resource.HOSTS, REVIEWS, placed)
    assert isinstance(engine.get(query, *arguments), Present)
    query, arguments = subscriptions.named(resource.HOSTS, "gone", placed)
    assert engine.get(query, *arguments) == Absent()


def test_an_endpoint_changes_one_resource_and_no_list():
    engine = objects.engine(
        *(service(f"s{i}", ip="None") for i in range(20)),
        *(endpoint_slice(f"s{i}", (f"10.0.0.{i}",)) for i in range(20)),
    )
    engine.watch(hosts.visible_names, view())
    for named in engine.get(hosts.visible_names, view()):
        engine.watch(named.query, *named.args)

    found = ran(engine, put(endpoint_slice("s3", ("10.0.0.3", "10.0.1.3"))))

    assert found["host"] == found["records"] == found["endpoints"] == 1
    assert not {"visible_names", "exported", "definition"} & found.keys()


def test_a_service_that_goes_takes_its_name_along():
    engine = objects.engine(service(), service("ratings"))

    engine.commit([gone(service("ratings"))])

    assert set(table(engine)) == {REVIEWS}
