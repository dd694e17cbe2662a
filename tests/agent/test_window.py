"""What a workload may see of its Envoy's own pages, and what it cannot come near."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from functools import partial

import pytest

from plait.base import netns
from plait.base.place import ProxySpec
from plait.xds.bootstrap import SHOWN
from tests.support.agent import LONG, Agent, agent, page
from tests.support.envoy import eventually
from tests.support.netns import Network, needs_root
from tests.support.plane import Plane
from tests.support.scale import count

pytestmark = needs_root
PROXY = "demo.web-1"
WINDOW = ("127.0.0.1", 15000)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as made:
        made.host("web")
        yield made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Iterator[Agent]:
    """An agent with one Envoy that is ready."""
    with Plane(tmp_path_factory.mktemp("plane")) as plane, agent(plane.xds) as made:
        made.want(
            ProxySpec(
                id=PROXY,
                name="web-1",
                namespace="demo",
                addresses=(network.address("web"),),
                network=path(network),
                termination_drain=0.2,
            )
        )
        made.ready(PROXY)
        yield made


def path(network: Network) -> str:
    return f"/run/netns/{network.namespace('web')}"


def is_closed(sock: socket.socket) -> bool:
    """Whether the other side has closed a connection on which it said nothing."""
    sock.settimeout(0)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("method", "asked", "code"),
    [
        *(("GET", one, 200) for one in (*SHOWN, "/stats?filter=server", "/clusters?format=json")),
        *(("GET", one, 403) for one in ("/config_dump", "/certs", "/", "/help", "/memory")),
        ("GET", "/stats/../config_dump", 403),
        ("GET", "/stats/%2e%2e/config_dump", 403),
        ("GET", "/ready/", 403),
        *(("POST", one, 403) for one in ("/quitquitquit", "/drain_listeners", "/logging")),
        ("POST", "/healthcheck/fail", 403),
        ("POST", "/stats", 403),
        ("DELETE", "/ready", 403),
    ],
)
def test_a_workload_sees_some_pages_and_changes_nothing(
    network: Network, method: str, asked: str, code: int
):
    assert page(path(network), WINDOW[1], asked, method)[0] == code


def test_all_pages_are_for_envoys_user_and_root(running: Agent):
    admin = running.place.proxy(PROXY) / "edge" / "admin.sock"
    other = ("setpriv", "--reuid", "1000", "--regid", "1337", "--clear-groups")
    ask = ("curl", "-sS", "--unix-socket", str(admin), "http://envoy/config_dump")
    refused, allowed = (
        subprocess.run([*who, *ask], capture_output=True, text=True, check=False, timeout=30)
        for who in (other, ())
    )

    assert admin.stat().st_mode & 0o777 == 0o600
    assert (refused.returncode, refused.stdout) == (7, "")
    assert "configs" in json.loads(allowed.stdout)


@pytest.mark.usefixtures("running")
def test_a_flood_of_connections_to_the_window_is_bounded_and_passes(network: Network):
    held = [
        netns.inside(path(network), partial(socket.create_connection, WINDOW, 10))
        for _ in range(count(300, 2000))
    ]
    try:
        closed = eventually(
            lambda: (found := sum(map(is_closed, held))) >= len(held) - 100 and found, LONG
        )
        code, _ = page(path(network), 15021, "/healthz/ready")
    finally:
        for one in held:
            one.close()

    assert (closed, code) == (len(held) - 100, 200)
    eventually(lambda: page(path(network), WINDOW[1], "/ready")[0] == 200, LONG)
