"""Listeners as Envoy gets them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plait.config.kinds.observed import Rejection
from plait.config.mesh_config import AccessLogEncoding, MeshConfig, Normalization, PathNormalization
from plait.mesh import ir
from plait.xds import filters, listeners, protos
from plait.xds.resource import Absent, Named, Present
from tests.support.mesh import Mesh, decoded, gateway, service, virtual_service

A = service("a", "http:80", ip="10.0.0.1")


def named(mesh: Mesh, **identity: Any) -> dict[str, Named]:
    placed = mesh.placed(**identity)
    found = mesh.engine.get(listeners.outbound_names, placed.view)
    found += mesh.engine.get(listeners.inbound_names, placed.inbound)
    return {one.name: one for one in found}


def listener(mesh: Mesh, name: str, **identity: Any) -> Present:
    one = named(mesh, **identity)[name]
    answer = mesh.engine.get(one.query, *one.args)
    assert isinstance(answer, Present)
    return answer


def manager(plain: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = plain["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def test_the_joined_listener_parses_as_one_message():
    found = listener(Mesh(A), "virtualInbound", labels={"app": "a"})
    message = protos.Listener.FromString(found.resource.body)

    assert message.name == "virtualInbound"
    assert len(message.filter_chains) == len(found.resource.children) == 5


def test_a_refused_chain_is_left_out_and_the_others_stay():
    mesh = Mesh(A)
    children = listener(mesh, "virtualInbound", labels={"app": "a"}).resource.children
    bad = children[-1]
    row = Rejection(digest=bad.digest, name=bad.name, proxy="p", error="no")

    mesh.engine.commit([("Rejection", bad.digest, row)])

    after = listener(mesh, "virtualInbound", labels={"app": "a"}).resource.children
    assert after == children[:-1]


def test_a_listener_whose_only_chain_was_refused_is_absent():
    mesh = Mesh(A)
    one = named(mesh, interception=ir.Interception.NONE)["127.0.0.1_80"]
    answer = mesh.engine.get(one.query, *one.args)
    assert isinstance(answer, Present)
    bad = answer.resource.children[0]

    row = Rejection(digest=bad.digest, name=bad.name, proxy="p", error="no")
    mesh.engine.commit([("Rejection", bad.digest, row)])

    assert mesh.engine.get(one.query, *one.args) == Absent()


def test_views_with_equal_listeners_share_them():
    mesh = Mesh(A)

    near, far = named(mesh), named(mesh, namespace="other")
    assert near["0.0.0.0_80"] == far["0.0.0.0_80"]


def test_a_new_weight_changes_no_listener():
    def split(weight: int) -> str:
        return virtual_service(
            "v", f"hosts: [a]\nhttp: [{{route: [{{destination: {{host: a}}, weight: {weight}}}]}}]"
        )

    mesh = Mesh(A, split(1))
    mesh.engine.watch(listeners.outbound_names, mesh.view())
    for one in named(mesh).values():
        mesh.engine.watch(one.query, *one.args)

    assert mesh.apply(split(2)) == set()


def test_nothing_is_logged_where_no_file_is_set():
    assert "access_log" not in manager(decoded(listener(Mesh(A), "0.0.0.0_80")))


def test_the_access_log_names_route_flags_and_request():
    settings = MeshConfig(access_log_file="/dev/stdout", access_log_encoding=AccessLogEncoding.JSON)
    plain = decoded(listener(Mesh(A, settings=settings), "0.0.0.0_80"))
    log = manager(plain)["access_log"][0]["typed_config"]

    assert log["path"] == "/dev/stdout"
    assert len(log["log_format"]["json_format"]) == 24
    assert {"route_name", "request_id", "response_flags"} <= set(log["log_format"]["json_format"])
    assert "filter" in plain["access_log"][0]


def test_the_text_log_is_istios_or_the_users():
    def text(written: str) -> str:
        (log,) = filters.access_logs(ir.AccessLog(path="/l", json=False, format=written))
        config = protos.FileAccessLog.FromString(log.typed_config.value)
        found: str = config.log_format.text_format_source.inline_string
        return found

    assert text("") == filters.TEXT_FORMAT
    assert text("%PROTOCOL%\n") == "%PROTOCOL%\n"
    assert text("%PROTOCOL%") == "%PROTOCOL%\n", "a line for each, as in Istio"


def test_the_users_json_format_is_taken_as_it_is():
    written = json.dumps({"a": "%PROTOCOL%", "b": {"c": "%DURATION%"}})
    (log,) = filters.access_logs(ir.AccessLog(path="/l", format=written))
    config = protos.FileAccessLog.FromString(log.typed_config.value)

    plain = protos.MessageToDict(config.log_format.json_format)
    assert plain == {"a": "%PROTOCOL%", "b": {"c": "%DURATION%"}}


def test_an_edge_does_not_trust_its_callers_and_a_sidecar_does_not_add_an_address():
    edge = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
"""
    outer = manager(decoded(listener(Mesh(edge), "0.0.0.0_80", **gateway())))
    inner = manager(decoded(listener(Mesh(A), "0.0.0.0_80")))

    assert outer["use_remote_address"] is True
    assert outer["forward_client_cert_details"] == "SANITIZE_SET"
    assert inner["use_remote_address"] is False
    assert "forward_client_cert_details" not in inner  # sanitised: Envoy's default


@pytest.mark.parametrize(
    ("written", "resolved", "merged", "escaped"),
    [
        ("DEFAULT", True, False, None),
        ("BASE", True, False, None),
        ("NONE", False, False, None),
        ("MERGE_SLASHES", True, True, None),
        ("DECODE_AND_MERGE_SLASHES", True, True, "UNESCAPE_AND_FORWARD"),
    ],
)
def test_paths_are_normalised_as_the_mesh_says(written, resolved, merged, escaped):
    how = PathNormalization(normalization=Normalization(written))
    mesh = Mesh(A, settings=MeshConfig(path_normalization=how))

    made = manager(decoded(listener(mesh, "0.0.0.0_80")))

    assert made["normalize_path"] is resolved
    assert made.get("merge_slashes", False) is merged
    assert made.get("path_with_escaped_slashes_action") == escaped


def test_the_slot_does_nothing_until_something_fills_it():
    chain = manager(decoded(listener(Mesh(A), "0.0.0.0_80")))
    slot, router = chain["http_filters"]

    assert slot["name"] == "plait.extensions"
    assert slot["config_discovery"]["apply_default_config_without_warming"] is True
    assert router["name"] == "envoy.filters.http.router"


def test_ports_that_may_not_be_inspected_are_left_out_by_the_inspectors():
    mesh = Mesh(service("a", "tcp-x:81", "tcp-y:82", "http:80"))
    plain = decoded(listener(mesh, "virtualInbound", labels={"app": "a"}))
    disabled = [one.get("filter_disabled") for one in plain["listener_filters"]]

    assert disabled[0] is None
    assert [
        rule["destination_port_range"]["start"] for rule in disabled[1]["or_match"]["rules"]
    ] == [
        81,
        82,
    ]


def test_a_sidecars_socket_may_be_a_file():
    body = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s}
spec:
  egress:
  - port: {number: 1, protocol: HTTP, name: h}
    bind: unix:///run/out.sock
    captureMode: NONE
    hosts: ["./*"]
"""
    plain = decoded(listener(Mesh(A, body), "unix:///run/out.sock_1"))

    assert plain["address"] == {"pipe": {"path": "/run/out.sock"}}
