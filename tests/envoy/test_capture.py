"""Captured traffic between hosts: each with its own address, rules and sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import istio
from tests.support.netns import needs_root, run
from tests.support.world import Captured, captured

pytestmark = needs_root
REQUESTS = 2000
CALL = """
import sys
sys.path.insert(0, {root!r})
from tests.support import traffic
print({expression})
"""


@pytest.fixture(scope="module")
def world() -> Iterator[Captured]:
    with captured() as found:
        yield found


def call(world: Captured, expression: str) -> str:
    """Evaluate an expression with `traffic` on the host ``web``."""
    import sys

    root = str(Path(__file__).parent.parent.parent)
    program = CALL.format(root=root, expression=expression)
    return run(*world.network.prefix("web"), sys.executable, "-c", program).strip()


def route(world: Captured, *http: dict[str, object]) -> None:
    world.plane.apply(istio.virtual_service("reviews", *http))


@pytest.mark.parametrize("address", ["10.88.0.1:9080", "pod"])
def test_a_header_chooses_the_version_for_a_virtual_and_a_pod_address(
    world: Captured, address: str
):
    route(
        world,
        {"match": istio.for_user("jason"), **istio.weights("reviews", v2=100)},
        istio.weights("reviews", v1=100),
    )
    target = f"{world.network.address('v1')}:9080" if address == "pod" else address

    host = {"Host": "reviews:9080"}
    jason = {**host, "end-user": "jason"}

    assert call(world, f"dict(traffic.names({target!r}, 20, headers={jason!r}))") == "{'v2': 20}"
    assert call(world, f"dict(traffic.names({target!r}, 20, headers={host!r}))") == "{'v1': 20}"


@pytest.mark.parametrize("share", [90, 50, 0])
def test_weights_hold_between_captured_sidecars(world: Captured, share: int):
    from tests.support.traffic import within_five_sigma

    route(world, istio.weights("reviews", v1=share, v2=100 - share))

    said = call(world, f"traffic.names('10.88.0.1:9080', {REQUESTS}).get('v1', 0)")

    assert within_five_sigma(int(said), REQUESTS, share / 100)


def test_a_request_crosses_both_sidecars(world: Captured):
    route(world, istio.weights("reviews", v2=100))
    before = world.proxies["v2"].stats("http.inbound.*downstream_rq_total")

    call(world, "traffic.names('10.88.0.1:9080', 10)")

    after = world.proxies["v2"].stats("http.inbound.*downstream_rq_total")
    assert sum(after.values()) - sum(before.values()) == 10


def test_grpc_passes_the_pair(world: Captured):
    said = call(world, "traffic.grpc_echo('10.88.0.2:9081', 'echo:9081', b'x', b'y')")

    assert said == "(b'v1:x', [b'v1:x', b'v1:y'])"


def test_a_websocket_passes_the_pair(world: Captured):
    route(world, istio.weights("reviews", v2=100))

    said = call(world, "traffic.websocket_echo('10.88.0.1:9080', 'reviews:9080', 'a')")

    assert said == "['v2:a']"


def test_a_server_that_speaks_first_passes_the_pair(world: Captured):
    assert call(world, "traffic.tcp_echo('10.88.0.3:9082')") == "(b'hello from v1\\n', b'ping\\n')"
