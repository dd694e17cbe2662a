"""A real Envoy accepts what every case's proxies are sent: listeners, route tables and clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plait.xds.tls import SDS_CLUSTER
from tests.support.case import Case
from tests.support.envoy import validate

CASES = sorted(
    path.parent for path in (Path(__file__).parent.parent / "cases").glob("*/proxies.yaml")
)


@pytest.mark.parametrize("directory", CASES, ids=lambda path: path.name)
def test_envoy_accepts_a_case(directory: Path, tmp_path: Path):
    case = Case(directory)

    for proxy in case.proxies:
        validate(bootstrap(case.resources(proxy)), tmp_path)


def bootstrap(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All resources in one static bootstrap, with the route tables inside their listeners."""
    listeners = [inlined(one, found["routes"]) for one in found["listeners"].values()]
    xds = {
        "name": SDS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/"
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {"cluster_name": SDS_CLUSTER},
    }
    return {
        "node": {"id": "test", "cluster": "test"},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": SDS_CLUSTER}}],
            }
        },
        "static_resources": {
            "listeners": listeners,
            "clusters": [xds, *found["clusters"].values()],
        },
    }


def inlined(value: Any, tables: dict[str, Any]) -> Any:
    """`value` with every reference to a route table replaced by the table."""
    if isinstance(value, list):
        return [inlined(part, tables) for part in value]
    if not isinstance(value, dict):
        return value
    plain = {name: inlined(part, tables) for name, part in value.items() if name != "rds"}
    if "rds" in value:
        plain["route_config"] = tables[value["rds"]["route_config_name"]]
    return plain
