"""The bootstrap that proxies start with."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.mesh import ir
from plait.xds.bootstrap import Proxy, Settings, bootstrap
from tests.support.envoy import validate

PROXY = Proxy(
    name="reviews-v1-abc",
    namespace="demo",
    addresses=("10.0.0.1", "fd00::1"),
    labels={"app": "reviews", "version": "v1"},
    workload="reviews-v1",
    locality=ir.Locality("eu", "eu-1", "rack-7"),
)


def test_a_node_says_what_istios_proxies_say():
    node = bootstrap(Settings(proxy=PROXY, xds="unix:/run/xds.sock"))["node"]

    assert node["id"] == "sidecar~10.0.0.1~reviews-v1-abc.demo~demo.svc.cluster.local"
    assert node["cluster"] == "reviews.demo"
    assert node["locality"] == {"region": "eu", "zone": "eu-1", "sub_zone": "rack-7"}
    expected = {
        "NAMESPACE": "demo",
        "LABELS": {"app": "reviews", "version": "v1"},
        "INSTANCE_IPS": "10.0.0.1,fd00::1",
        "INTERCEPTION_MODE": "REDIRECT",
        "WORKLOAD_NAME": "reviews-v1",
    }
    assert expected.items() <= node["metadata"].items()


def test_what_is_said_by_hand_beats_what_is_made():
    proxy = Proxy(name="a", namespace="b", addresses=("1.2.3.4",), metadata={"MESH_ID": "mine"})

    node = bootstrap(Settings(proxy=proxy, xds="127.0.0.1:15010"))["node"]

    assert node["metadata"]["MESH_ID"] == "mine"


def test_without_pages_there_is_no_listener_and_one_cluster():
    made = bootstrap(Settings(proxy=PROXY, xds="127.0.0.1:15010"))

    resources = made["static_resources"]
    assert resources["listeners"] == []
    assert [cluster["name"] for cluster in resources["clusters"]] == ["xds-grpc"]


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("unix:/run/xds", "STATIC"),
        ("10.0.0.9:15010", "STATIC"),
        ("[::1]:15010", "STATIC"),
        ("plait.mesh:15010", "STRICT_DNS"),
    ],
)
def test_only_names_are_looked_up(address, kind):
    made = bootstrap(Settings(proxy=PROXY, xds=address))

    assert made["static_resources"]["clusters"][0]["type"] == kind


@pytest.mark.parametrize(
    "settings",
    [
        Settings(proxy=PROXY, xds="unix:/run/xds.sock", admin="unix:/tmp/plait-test-admin.sock"),
        Settings(
            proxy=PROXY,
            xds="control.mesh:15010",
            stats="0.0.0.0:15090",
            health="0.0.0.0:15021",
            stats_prefixes=(),
            max_connections=1000,
            max_heap=0,
        ),
    ],
    ids=["sockets", "ports"],
)
def test_envoy_takes_it(settings, tmp_path):
    validate(bootstrap(settings), tmp_path)


def test_who_is_given_an_identity_says_so_and_knows_where_secrets_are(tmp_path: Path):
    without, with_one = (
        bootstrap(Settings(proxy=PROXY, xds="unix:/run/xds.sock", sds=sds))
        for sds in ("", "unix:/run/sds.sock")
    )

    for said in ("PLAIT_SDS", "PLAIT_CRL"):
        assert said not in without["node"]["metadata"]
        assert with_one["node"]["metadata"][said] == "true"
    names = [one["name"] for one in with_one["static_resources"]["clusters"]]
    assert names == ["xds-grpc", "sds-grpc"]
    validate(with_one, tmp_path)


def test_who_was_sent_nothing_for_long_comes_back_within_seconds():
    made = bootstrap(Settings(proxy=PROXY, xds="unix:/run/xds.sock"))

    (service,) = made["dynamic_resources"]["ads_config"]["grpc_services"]
    back_off = service["envoy_grpc"]["retry_policy"]["retry_back_off"]
    assert back_off == {"base_interval": "0.500s", "max_interval": "2s"}
