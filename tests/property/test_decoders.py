"""Any bytes at what reads bytes of others: what is documented comes out, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.agent import dns_message
from plait.config import codec
from plait.config.ports import Change, Fault
from plait.serve import callers, identity
from plait.serve.api import bodies, paths, protobuf, selectors
from plait.serve.api.status import StatusError
from plait.serve.ca.spiffe import Identity
from plait.xds import protos
from plait.xds.resource import CLUSTER
from plait.xds.wire import Malformed, Reader, read_delta, read_state
from tests.support.scale import count

MANY = settings(max_examples=count(150, 20_000), deadline=None)


def mutated(seed: bytes) -> st.SearchStrategy[bytes]:
    """The bytes of something good, with some replaced, left out or put in."""

    def change(edits: list[tuple[int, bytes, int]]) -> bytes:
        found = bytearray(seed)
        for place, put, left in edits:
            at = place % (len(found) + 1)
            found[at : at + left] = put
        return bytes(found)

    edit = st.tuples(st.integers(0, 4096), st.binary(max_size=4), st.integers(0, 4))
    return st.lists(edit, max_size=5).map(change)


def near(*seeds: bytes) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=200) | st.one_of(*map(mutated, seeds))


def request(cls: Any, **fields: Any) -> bytes:
    node = protos.Node(id="sidecar~10.0.0.1~a.demo~x")
    node.metadata.fields["LABELS"].struct_value.fields["app"].string_value = "web"
    message: bytes = cls(type_url=CLUSTER, node=node, **fields).SerializeToString()
    return message


DELTA = request(
    protos.DeltaDiscoveryRequest,
    resource_names_subscribe=["a", "b"],
    initial_resource_versions={"a": "1"},
)
STATE = request(protos.DiscoveryRequest, resource_names=["a"], response_nonce="n")


@MANY
@given(near(DELTA, STATE, DELTA * 20), st.booleans())
def test_requests_are_read_or_malformed(data: bytes, first: bool):
    reader = Reader()
    for read in (
        lambda: read_delta(data, first=first),
        lambda: read_state(data, first=first),
        lambda: reader.read(data, delta=True, first=first),
        lambda: reader.read(data, delta=False, first=first),
    ):
        try:
            found = read()
        except Malformed:
            continue
        identity.parse(found.node)


@MANY
@given(mutated(protos.Node(id="sidecar~1.2.3.4~a.b~c").SerializeToString()))
def test_every_node_is_somebody(data: bytes):
    try:
        node = protos.Node.FromString(data)
    except protos.DecodeError:
        return

    found = identity.parse(node)

    callers.refusal(Identity(trust_domain="a", namespace="b", account="c"), found, ("a",))


@MANY
@given(st.lists(st.binary(max_size=60) | mutated(b"spiffe://a/ns/b/sa/c"), max_size=3))
def test_names_in_certificates_are_a_caller_or_none(names: list[bytes]):
    found = callers.caller(names)

    assert found is None or str(found).encode() in names


QUERY = bytes.fromhex("1234010000010000000000000372657600000100010000")


@MANY
@given(near(QUERY))
def test_packets_are_questions_or_answered(packet: bytes):
    found = dns_message.parse(packet)

    if not isinstance(found, bytes):
        assert dns_message.reply(found, ("10.0.0.1",))


YAML = (
    b"apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: &x {b: 'c'}}\nspec: *x\n---\n[1]"
)


@MANY
@given(near(YAML, b'{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}'))
def test_texts_are_documents_or_faults(data: bytes):
    for document in codec.read_yaml(data.decode(errors="replace"), "text"):
        if not isinstance(document, Fault):
            assert isinstance(codec.decode(document), Change | Fault)


SERVICE = bytes.fromhex(
    "6b3873000a0d0a02763112075365727669636512120a100a0161120012001a002200 2a0032003800".replace(
        " ", ""
    )
)


@MANY
@given(near(SERVICE, b"k8s\0" + SERVICE[4:]))
def test_protobuf_bodies_are_objects_or_statuses(raw: bytes):
    only(lambda: protobuf.decode(raw), StatusError)


def only(read: Callable[[], Any], *errors: type[Exception]) -> None:
    try:
        read()
    except errors:
        return


@MANY
@given(near(YAML, b'{"a": [1, {"b": null}]}', b"{" * 300), st.sampled_from(bodies.PATCHES))
def test_bodies_are_read_or_statuses(raw: bytes, media: str):
    async def read() -> None:
        loop = asyncio.get_running_loop()
        payload = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
        payload.feed_data(raw)
        payload.feed_eof()
        sent = make_mocked_request("POST", "/", {"Content-Type": media}, payload=payload)
        await bodies.read(sent, bodies.PATCHES)

    only(lambda: asyncio.run(read()), StatusError)


SELECTORS = st.text(max_size=60) | mutated(b"a=b,c!=d,e in (f,g),!h").map(
    lambda found: found.decode(errors="replace")
)


@MANY
@given(SELECTORS, SELECTORS | st.just("metadata.name=a,metadata.namespace==b"))
def test_selectors_are_read_or_statuses(labels: str, fields: str):
    try:
        found = selectors.parse(labels, fields)
    except StatusError:
        return
    found.matches("demo", "a", {"a": "b"})


@MANY
@given(st.text(max_size=20), st.text(max_size=10), st.text(max_size=80))
def test_paths_name_objects_or_nothing(group: str, version: str, tail: str):
    for at in ("", group):
        only(lambda at=at: paths.target(at, version, tail), StatusError, web.HTTPNotFound)  # type: ignore[misc]


@pytest.mark.parametrize("data", [DELTA, STATE])
def test_what_is_changed_here_is_good_before(data: bytes):
    assert read_delta(DELTA, first=True).names == {"a", "b"}
    assert read_state(STATE, first=True).nonce == "n"
    assert data
