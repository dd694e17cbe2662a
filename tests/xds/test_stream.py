import gc
import sys

from msgspec import structs

from plait.mesh import ir
from plait.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES
from tests.support.delivery import OTHER, PLACE, Client, Mesh, item


def full(mesh: Mesh, **how) -> Client:
    """A client that has everything of a small mesh: clusters a and b, a listener, a route table."""
    client = mesh.client(**how)
    client.sync(*client.ask("CDS"))
    client.sync(*client.ask("EDS", "a", "b"))
    client.sync(*client.ask("LDS"))
    client.sync(*client.ask("RDS", "80"))
    return client


def small() -> Mesh:
    return Mesh(
        item("CDS", "a"),
        item("CDS", "b"),
        item("EDS", "a"),
        item("EDS", "b"),
        item("LDS", "in"),
        item("RDS", "80"),
    )


def test_a_wildcard_is_answered_with_everything():
    client = small().client()

    assert client.ask("CDS") == [("CDS", ("a", "b"), ())]


def test_an_explicit_star_is_the_same_wildcard():
    client = small().client()

    assert client.ask("CDS", "*") == [("CDS", ("a", "b"), ())]


def test_an_empty_wildcard_is_answered_too():
    client = Mesh().client()

    assert client.ask("CDS") == [("CDS", (), ())]


def test_names_are_answered_as_far_as_they_exist_and_the_others_are_called_removed():
    client = small().client()

    assert client.ask("EDS", "a", "x") == [("EDS", ("a",), ("x",))]


def test_what_is_pending_is_not_answered_until_it_is_known():
    mesh = Mesh(item("EDS", "a", pending=True))
    client = mesh.client()

    assert client.ask("EDS", "a") == []
    assert mesh.put(item("EDS", "a"))[0] == [("EDS", ("a",), ())]


def test_only_what_changed_is_sent():
    mesh = small()
    full(mesh)

    assert mesh.put(item("EDS", "b", "2"))[0] == [("EDS", ("b",), ())]


def test_equal_bytes_are_not_sent():
    mesh = small()
    full(mesh)

    assert mesh.put(item("EDS", "b", namespaces=("demo", "x")))[0] == []


def test_while_a_response_is_under_way_nothing_is_queued_and_the_newest_follows():
    mesh = small()
    client = full(mesh)
    mesh.put(item("EDS", "a", "2"))

    assert mesh.put(item("EDS", "a", "3"))[0] == []
    assert mesh.put(item("EDS", "b", "2"))[0] == []
    assert client.ack("EDS") == [("EDS", ("a", "b"), ())]
    assert client.ack("EDS") == []


def test_other_types_go_on_while_one_is_under_way():
    mesh = small()
    full(mesh)
    mesh.put(item("EDS", "a", "2"))

    assert mesh.put(item("LDS", "in", "2"))[0] == [("LDS", ("in",), ())]


def test_an_acknowledgement_of_an_older_response_is_ignored():
    mesh = small()
    client = full(mesh)
    old = client.nonces.copy()
    mesh.put(item("EDS", "a", "2"))
    mesh.put(item("EDS", "a", "3"))
    client.nonces = old

    assert client.ack("EDS") == []


def test_a_subscription_to_more_names_brings_those_only():
    mesh = small()
    client = mesh.client()
    client.sync(*client.ask("EDS", "a"))

    assert client.ask("EDS", "b") == [("EDS", ("b",), ())]


def test_a_name_that_others_know_is_sent_beside_one_that_nobody_knows_yet():
    mesh = small()
    full(mesh)
    mesh.put(item("EDS", "c"))
    mesh.put(item("EDS", "b", "2"))
    client = mesh.client()
    client.sync(*client.ask("EDS", "b"))

    assert client.ask("EDS", "a", "c") == [("EDS", ("a", "c"), ())]


def test_a_name_that_is_asked_for_again_is_sent_again():
    client = full(small())

    assert client.ask("EDS", "a") == [("EDS", ("a",), ())]


def test_a_name_that_is_not_wanted_any_more_is_not_sent():
    mesh = small()
    client = full(mesh)
    client.ask("EDS", drop=("a",))

    assert mesh.put(item("EDS", "a", "2"), item("EDS", "b", "2"))[0] == [("EDS", ("b",), ())]


def test_a_name_beside_the_wildcard_is_told_under_the_wildcard_when_it_is_dropped():
    mesh = small()
    client = full(mesh)
    client.sync(*client.ask("LDS", "in", "gone"))

    assert client.ask("LDS", drop=("in", "gone")) == [("LDS", ("in",), ("gone",))]


def test_a_refused_response_is_not_repeated_until_its_content_changes():
    mesh = small()
    client = full(mesh)
    mesh.put(item("LDS", "in", "bad"))

    assert client.nack("LDS", "no such filter") == []
    assert mesh.put(item("RDS", "80", "2"))[0] == [("RDS", ("80",), ())]
    assert mesh.put(item("LDS", "in", "good"))[0] == [("LDS", ("in",), ())]
    [refusal] = client.refusals
    assert (refusal.error, list(refusal.payload.resources)) == ("no such filter", ["in"])


def test_a_refused_response_is_not_delivered_before_what_was_refused_is_accepted():
    mesh = small()
    client = full(mesh)
    mesh.put(item("LDS", "in", "bad"))
    before = mesh.revision - 1
    client.nack("LDS")
    mesh.put(item("LDS", "other"))
    client.ack("LDS")

    assert client.delivered == before
    mesh.put(item("LDS", "in", "good"))
    client.ack("LDS")
    assert client.delivered == mesh.revision


# Reconnecting


def test_a_client_that_reconnects_is_sent_nothing_it_has():
    mesh = small()
    before = full(mesh)
    after = mesh.client()

    for kind, names in (("CDS", ("*",)), ("EDS", ("a", "b")), ("LDS", ()), ("RDS", ("80",))):
        url = {"CDS": 0, "EDS": 1, "LDS": 2, "RDS": 3}[kind]
        initial = tuple(before.versions.values())[url]
        assert after.ask(kind, *names, initial=initial) == []
    assert after.delivered == mesh.revision
    assert mesh.put(item("EDS", "a", "2"))[1] == [("EDS", ("a",), ())]


def test_a_client_that_reconnects_is_sent_what_changed_and_told_what_went():
    mesh = small()
    before = full(mesh)
    [held, *_] = before.versions.values()
    mesh.clients.clear()
    before.stream.close()
    mesh.put(item("CDS", "b", "2"), item("CDS", "c"))
    mesh.drop(("CDS", "a"))
    after = mesh.client()

    assert after.ask("CDS", initial=held) == [("CDS", ("b", "c"), ())]
    assert after.ack("CDS") == []
    assert after.wait(2) == [("CDS", (), ("a",))]


def test_a_client_that_reconnects_loses_a_cluster_after_its_routes_have_left_it():
    mesh = small()
    held = full(mesh).versions
    mesh.clients.clear()
    mesh.put(item("RDS", "80", "2"))
    mesh.drop(("CDS", "b"))
    client = mesh.client()

    assert client.ask("CDS", initial=held[CLUSTER]) == []
    client.ask("EDS", "a", "b", initial=held[ENDPOINTS])
    client.ask("LDS", initial=held[LISTENER])
    assert client.ask("RDS", "80", initial=held[ROUTES]) == [("RDS", ("80",), ())]
    assert client.wait(2) == []
    assert client.ack("RDS") == [("CDS", (), ("b",))]


def test_a_client_that_reconnects_before_the_mesh_is_known_is_compared_all_the_same():
    mesh = small()
    [held, *_] = full(mesh).versions.values()

    fresh = small()

    assert fresh.client().ask("CDS", initial=held) == []


def test_a_client_that_reconnects_gets_endpoints_of_a_changed_cluster_again():
    mesh = small()
    held = full(mesh).versions
    mesh.clients.clear()
    mesh.put(item("CDS", "a", "2"))
    client = mesh.client()

    said = client.ask("CDS", initial=held[CLUSTER])
    said += client.ask("EDS", "a", "b", initial=held[ENDPOINTS])
    assert said == [("CDS", ("a",), ()), ("EDS", ("a",), ())]


def test_a_cluster_that_comes_back_before_a_client_that_reconnected_lost_it_stays():
    mesh = small()
    held = full(mesh).versions
    mesh.clients.clear()
    mesh.drop(("CDS", "b"))
    mesh.put(item("RDS", "80", "2"))
    client = mesh.client()
    client.ask("LDS", initial=held[LISTENER])
    client.ask("RDS", "80", initial=held[ROUTES])
    client.ask("CDS", initial=held[CLUSTER])
    client.ask("EDS", "a", "b", initial=held[ENDPOINTS])

    said = mesh.put(item("CDS", "b"))[0]

    assert client.sync(*said) == [("CDS", ("b",), ()), ("EDS", ("b",), ())]
    assert client.sync(*client.ack("RDS"), *client.wait(2)) == []


# Order


def test_a_new_cluster_its_endpoints_then_listeners_and_routes():
    mesh = small()
    client = full(mesh)

    sent = mesh.put(
        item("RDS", "80", "to c"), item("LDS", "in", "2"), item("EDS", "c"), item("CDS", "c")
    )[0]

    assert sent == [("CDS", ("c",), ())]
    assert client.ack("CDS") == []
    assert client.ask("EDS", "c") == [("EDS", ("c",), ())]
    assert client.ack("EDS") == [("LDS", ("in",), ()), ("RDS", ("80",), ())]


def test_a_cluster_without_endpoint_discovery_is_not_waited_for():
    mesh = small()
    client = full(mesh)

    mesh.put(item("RDS", "80", "to c"), item("CDS", "c", "static"))

    assert client.ack("CDS") == [("RDS", ("80",), ())]


def test_a_client_that_never_asks_for_endpoints_gets_routes_after_a_while():
    mesh = small()
    client = full(mesh)
    mesh.put(item("RDS", "80", "to c"), item("CDS", "c"))
    client.ack("CDS")

    assert client.wait(0.9) == []
    assert client.wait(0.2) == [("RDS", ("80",), ())]
    assert client.stream.deadline is None


def test_a_changed_cluster_brings_its_endpoints_again():
    mesh = small()
    full(mesh)

    assert mesh.put(item("CDS", "a", "2"))[0] == [("CDS", ("a",), ()), ("EDS", ("a",), ())]


def test_a_removed_cluster_goes_after_routes_are_acknowledged():
    mesh = small()
    client = full(mesh)
    keys = [
        ("Item", (one.type_url, one.name), None) for one in (item("CDS", "a"), item("EDS", "a"))
    ]

    sent = mesh.write(*keys, ("Item", item("RDS", "80").key, item("RDS", "80", "to b")))[0]

    assert sent == [("RDS", ("80",), ())]  # of a's endpoints the cluster's end says enough
    assert client.ack("RDS") == [("CDS", (), ("a",))]


def test_a_cluster_stays_while_routes_that_leave_it_are_refused():
    mesh = small()
    client = full(mesh)
    mesh.write(
        ("Item", item("CDS", "a").key, None),
        ("Item", item("RDS", "80").key, item("RDS", "80", "bad")),
    )

    assert client.nack("RDS") == []
    mesh.put(item("RDS", "80", "good"))
    assert client.ack("RDS") == [("CDS", (), ("a",))]


def test_a_cluster_that_comes_back_before_it_was_removed_is_just_sent():
    mesh = small()
    client = full(mesh)
    mesh.write(
        ("Item", item("CDS", "a").key, None),
        ("Item", item("RDS", "80").key, item("RDS", "80", "to b")),
    )
    mesh.put(item("CDS", "a", "new"))

    assert client.ack("RDS") == []
    assert client.versions[item("CDS", "a").type_url].keys() == {"a", "b"}


def test_endpoints_do_not_wait_for_anything():
    mesh = small()
    full(mesh)
    mesh.put(item("CDS", "c"))

    assert mesh.put(item("EDS", "a", "2"))[0] == [("EDS", ("a",), ())]


# Placement


def test_a_proxy_that_stands_elsewhere_is_told_of_removals_it_waits_for():
    both = ("demo", "other")
    kinds = (("CDS", "a"), ("CDS", "b"), ("EDS", "a"), ("EDS", "b"), ("LDS", "in"), ("RDS", "80"))
    mesh = Mesh(*(item(kind, name, namespaces=both) for kind, name in kinds))
    client = full(mesh)
    routes = item("RDS", "80", "2", namespaces=both)
    mesh.write(("Item", routes.key, routes), ("Item", (CLUSTER, "b"), None))
    assert client.move(OTHER) == []

    assert client.ack("RDS") == [("CDS", (), ("b",))]


def test_a_proxy_that_stands_elsewhere_loses_a_cluster_at_once_where_its_routes_are_the_same():
    both = ("demo", "other")
    kinds = (("CDS", "a"), ("EDS", "a"), ("EDS", "b"), ("LDS", "in"), ("RDS", "80"))
    shared = (item(kind, name, namespaces=both) for kind, name in kinds)
    client = full(Mesh(item("CDS", "b"), *shared))

    assert client.move(OTHER) == [("CDS", (), ("b",))]

    client.ack("CDS")
    assert client.stream.acknowledged is None


def test_a_proxy_that_stands_elsewhere_is_sent_the_difference():
    mesh = Mesh(
        item("CDS", "both", namespaces=("demo", "other")),
        item("CDS", "here"),
        item("CDS", "there", namespaces=("other",)),
    )
    client = mesh.client()
    client.sync(*client.ask("CDS"))

    assert client.move(OTHER) == [("CDS", ("there",), ("here",))]


# State of the world


def test_state_of_the_world_sends_clusters_whole_and_endpoints_as_they_change():
    mesh = small()
    client = full(mesh, delta=False)

    assert mesh.put(item("EDS", "b", "2"))[0] == [("EDS", ("b",), ())]
    client.ack("EDS")
    assert mesh.put(item("CDS", "b", "static"))[0] == [("CDS", ("a", "b"), ())]


def test_state_of_the_world_forgets_a_refused_listener_that_is_gone():
    mesh = small()
    client = full(mesh, delta=False)
    mesh.put(item("LDS", "bad"))
    client.nack("LDS")

    assert mesh.drop(("LDS", "bad"))[0] == [("LDS", ("in",), ())]
    client.ack("LDS")
    assert client.delivered == mesh.revision


def test_state_of_the_world_keeps_a_removed_cluster_until_routes_have_left_it():
    mesh = small()
    client = full(mesh, delta=False)
    mesh.write(
        ("Item", item("CDS", "a").key, None),
        ("Item", item("CDS", "c").key, item("CDS", "c", "static")),
        ("Item", item("RDS", "80").key, item("RDS", "80", "to c")),
    )

    assert client.ack("CDS") == [("RDS", ("80",), ())]
    assert client.ack("RDS") == [("CDS", ("b", "c"), ())]


def test_state_of_the_world_answers_a_longer_list_of_names():
    mesh = small()
    client = full(mesh, delta=False)

    assert client.ask("EDS", "a", "b", "c") == []
    assert mesh.put(item("EDS", "c"), item("EDS", "d"))[0] == [("EDS", ("c",), ())]
    client.ack("EDS")
    assert client.ask("EDS", "a", "b", "c", "d") == [("EDS", ("d",), ())]


# Sharing, and what is in force


def test_streams_that_stand_at_the_same_place_share_the_bytes():
    mesh = small()
    first, second = full(mesh), full(mesh)

    mesh.put(item("EDS", "a", "2"))

    assert first.sent[-1] is second.sent[-1]


def test_a_revision_is_delivered_when_all_of_it_is_acknowledged():
    mesh = small()
    client = full(mesh)
    assert client.delivered == mesh.revision

    mesh.put(item("RDS", "80", "to c"), item("CDS", "c"), item("EDS", "c"))
    seen = [client.delivered]
    client.ack("CDS")
    seen.append(client.delivered)
    client.ask("EDS", "c")
    seen.append(client.delivered)
    client.ack("EDS")
    seen.append(client.delivered)
    client.ack("RDS")

    assert seen == [mesh.revision - 1] * 4
    assert client.delivered == mesh.revision


def test_a_removal_is_delivered_when_it_is_acknowledged():
    mesh = small()
    client = full(mesh)
    keys = [
        ("Item", (one.type_url, one.name), None) for one in (item("CDS", "a"), item("EDS", "a"))
    ]

    mesh.write(*keys, ("Item", item("RDS", "80").key, item("RDS", "80", "to b")))
    seen = [client.delivered]
    client.ack("RDS")  # and the end of the cluster is sent
    seen.append(client.delivered)
    client.ack("CDS")

    assert seen == [mesh.revision - 1] * 2
    assert client.delivered == mesh.revision


def test_a_new_listener_is_delivered_when_it_has_its_route_table():
    mesh = small()
    client = full(mesh)

    mesh.put(item("LDS", "new", tables=("81",)), item("RDS", "81"))
    client.ack("LDS")
    without = client.delivered
    client.ask("RDS", "81")
    client.ack("RDS")

    assert without == mesh.revision - 1
    assert client.delivered == mesh.revision


def test_a_listener_whose_table_the_client_never_asks_for_is_delivered_after_a_while():
    mesh = small()
    client = full(mesh)

    mesh.put(item("LDS", "new", tables=("81",)))
    client.ack("LDS")
    client.wait(1.1)

    assert client.delivered == mesh.revision


def test_a_revision_that_concerns_nobody_is_delivered_at_once():
    mesh = small()
    client = full(mesh)
    mesh.put(item("CDS", "elsewhere", namespaces=("other",)))

    assert client.delivered == mesh.revision


def test_names_that_differ_are_told_for_status():
    mesh = small()
    client = full(mesh)
    mesh.put(item("EDS", "a", "2"))
    mesh.put(item("EDS", "b", "2"))

    [channel] = [c for c in client.stream.channels if not c.settled]

    assert channel.behind() == {"a", "b"}
    assert channel.since == 100.0


def test_what_nobody_watches_is_forgotten_after_a_while():
    mesh = small()
    client = full(mesh)
    client.stream.close()

    mesh.hub.sweep(0.0)
    mesh.hub.sweep(60.0)
    mesh.engine.collect()

    assert len(mesh.engine) == 0


def test_a_place_where_nobody_stands_is_forgotten_though_others_share_its_topics():
    mesh = small()
    full(mesh)
    place = structs.replace(PLACE, locality=ir.Locality(zone="far"))
    before = sys.getrefcount(place)
    client = mesh.client(placement=place)
    client.ask("EDS", "a", "b")
    client.stream.close()
    mesh.clients.remove(client)
    del client
    gc.collect()
    assert sys.getrefcount(place) > before

    mesh.hub.sweep(0.0)

    assert sys.getrefcount(place) == before
