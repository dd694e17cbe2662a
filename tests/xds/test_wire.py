import pytest

from plait.xds import protos, wire
from plait.xds.resource import CLUSTER, ENDPOINTS, ROUTES, Child, Resource, leaf
from tests.support.delivery import table


def cluster(name: str, kind: int = protos.Cluster.EDS) -> Resource:
    body = protos.encode(protos.Cluster(name=name, type=kind, alt_stat_name="x" * 300))
    return leaf(CLUSTER, Child(name=name, digest="d" * 32, body=body))


def test_a_joined_delta_response_is_what_protobuf_would_write():
    resources = [cluster("a"), cluster("b"), table("80", "h1=1", "h2=2")]
    data = wire.delta(CLUSTER, map(wire.fragment, resources), ["gone", "too"])
    payload = wire.Payload(data, {r.name: r for r in resources}, ("gone", "too"))

    expected = protos.DeltaDiscoveryResponse(
        type_url=CLUSTER, nonce="1f", removed_resources=["gone", "too"]
    )
    for one in resources:
        held = expected.resources.add(name=one.name, version=one.version)
        held.resource.type_url = one.type_url
        held.resource.value = one.body

    assert protos.DeltaDiscoveryResponse.FromString(payload.message("1f")) == expected


def test_a_joined_state_response_is_what_protobuf_would_write():
    resources = {one.name: one for one in (cluster("a"), cluster("b"))}
    payload = wire.Payload(wire.state(CLUSTER, resources.values()), resources)

    got = protos.DiscoveryResponse.FromString(payload.message("7"))

    assert (got.type_url, got.nonce, len(got.version_info)) == (CLUSTER, "7", 32)
    assert [one.value for one in got.resources] == [one.body for one in resources.values()]


def test_the_version_of_a_state_response_is_that_of_its_content():
    one, same, other = (wire.state(CLUSTER, [cluster(name)]) for name in ("a", "a", "b"))

    assert one == same
    assert protos.DiscoveryResponse.FromString(one).version_info not in str(other)


def test_streams_with_the_same_nonce_share_the_bytes():
    payload = wire.Payload(wire.delta(CLUSTER, [], []), {})

    assert payload.message("1") is payload.message("1")


def test_clusters_that_ask_for_endpoints_are_known():
    resources = {
        one.name: one for one in (cluster("eds"), cluster("static", protos.Cluster.STATIC))
    }

    assert wire.Payload(b"", resources).needs == {"eds"}
    assert wire.Payload(b"", resources, news=()).needs == frozenset()


def test_a_delta_request_is_read_whole_the_first_time():
    request = protos.DeltaDiscoveryRequest(
        node=protos.Node(id="me"),
        type_url=ENDPOINTS,
        resource_names_subscribe=["a", "b"],
        resource_names_unsubscribe=["c"],
        initial_resource_versions={"a": "1"},
    )

    got = wire.read_delta(request.SerializeToString(), first=True)

    assert got.node.id == "me"
    assert (got.type_url, sorted(got.names), sorted(got.unsubscribed)) == (
        ENDPOINTS,
        ["a", "b"],
        ["c"],
    )
    assert (got.initial, got.error, got.nonce) == ({"a": "1"}, None, "")


@pytest.mark.parametrize("delta", [True, False])
def test_a_node_is_stepped_over_after_the_first_message(delta: bool):
    cls = protos.DeltaDiscoveryRequest if delta else protos.DiscoveryRequest
    request = cls(type_url=ROUTES, response_nonce="9", node=protos.Node(id="x" * 70_000))
    request.error_detail.message = "no"
    if not delta:
        request.version_info = "v" * 200
    read = wire.read_delta if delta else wire.read_state

    got = read(request.SerializeToString(), first=False)

    assert (got.type_url, got.nonce, got.error, got.node) == (ROUTES, "9", "no", None)


@pytest.mark.parametrize("data", [b"\x0a\xff", b"\xff\xff\xff\xff", b"", b"\x0a\x05ab"])
def test_garbage_is_malformed(data: bytes):
    for first in (True, False):
        with pytest.raises(wire.Malformed):
            wire.read_delta(data, first=first)


def test_a_long_request_that_clients_send_alike_is_decoded_once():
    names = [f"cluster-{number}" for number in range(200)]
    reader = wire.Reader()

    def said(node: str, **fields: object) -> wire.Request:
        request = protos.DeltaDiscoveryRequest(
            node=protos.Node(id=node),
            type_url=ENDPOINTS,
            resource_names_subscribe=names,
            **fields,
        )
        return reader.read(request.SerializeToString(), delta=True, first=False)

    one = said("one")

    assert said("two") is one
    assert one.names == set(names)
    assert said("three", response_nonce="1").nonce == "1"
    assert said("four", initial_resource_versions={"a": "1"}).initial == {"a": "1"}


@pytest.mark.parametrize("first", [True, False])
def test_what_clients_hold_alike_is_read_once_in_whatever_order_they_say_it(first: bool):
    held = {f"cluster-{number}": f"{number:032x}" for number in range(200)}
    reader = wire.Reader()

    def said(node: str, versions: dict[str, str]) -> wire.Request:
        request = protos.DeltaDiscoveryRequest(
            node=protos.Node(id=node), type_url=CLUSTER, initial_resource_versions=versions
        )
        return reader.read(request.SerializeToString(), delta=True, first=first)

    one = said("one", held)
    two = said("two", dict(reversed(held.items())))
    other = said("three", {**held, "cluster-7": "another"})

    assert two.initial is one.initial
    assert one.initial == held
    assert other.initial == {**held, "cluster-7": "another"}
    assert [got.node.id if got.node else None for got in (one, two)] == (
        ["one", "two"] if first else [None, None]
    )


def test_requests_of_the_two_protocols_are_not_taken_for_each_other():
    body = protos.DiscoveryRequest(type_url=ENDPOINTS, resource_names=["a" * 2_000])
    data = body.SerializeToString()
    reader = wire.Reader()

    assert reader.read(data, delta=False, first=False).names == {"a" * 2_000}
    with pytest.raises(wire.Malformed):
        reader.read(data, delta=True, first=False)


def test_a_response_knows_which_names_it_does_not_speak_of():
    payload = wire.Payload(b"", {"a": cluster("a")}, ("gone",))

    assert payload.without(frozenset({"a", "b", "gone"})) == {"b"}
    assert payload.without(frozenset({"c"})) == {"c"}
