"""Identities of real Envoys, given by the agent as a process and by ``plait proxy``."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.base.place import ProxySpec
from tests.support.agent import Agent, agent
from tests.support.envoy import base_id, eventually
from tests.support.netns import Network, needs_root
from tests.support.plane import PLAIT, ROOT, Plane, free_port
from tests.support.signing import Signing, mesh_at

_THIEF = """
import socket, sys
for path in sys.argv[1:]:
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(path)
            try:
                sock.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
                sock.sendall(bytes(3) + b"\\4" + bytes(5))  # empty settings
                print(len(sock.recv(100)))
            except ConnectionError:
                print(0)
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with Plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def socket() -> Iterator[Path]:
    """Where the control plane is; a short path."""
    with tempfile.TemporaryDirectory(prefix="plait-") as directory:
        yield Path(directory) / "xds.sock"


@pytest.fixture
def signing(socket: Path) -> Iterator[Signing]:
    with mesh_at(f"unix:{socket}") as made:
        eventually(socket.exists, what="the control plane's socket")
        yield made


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as made:
        made.host("web")
        made.host("other")
        yield made


def spec(network: Network, host: str) -> ProxySpec:
    return ProxySpec(
        id=f"demo.{host}-1",
        name=f"{host}-1",
        namespace="demo",
        addresses=(network.address(host),),
        service_account="web",
        network=f"/run/netns/{network.namespace(host)}",
        termination_drain=0.2,
    )


def refusals(running: Agent) -> list[str]:
    return [line for line in running.log.read_text().splitlines() if "connection refused" in line]


@needs_root
def test_each_proxy_has_a_key_that_no_workload_can_read_and_a_new_agent_goes_on_with_it(
    signing: Signing, socket: Path, network: Network
):
    with agent(f"unix:{socket}") as running:
        running.want(spec(network, "web"))
        running.ready("demo.web-1")
        own = running.place.proxy("demo.web-1") / "own"
        kept = eventually((own / "identity").read_bytes, what="the identity is kept")
        node = json.loads((own.parent / "envoy.json").read_text())["node"]

        assert b"PRIVATE KEY" in kept
        assert stat.S_IMODE(own.stat().st_mode) == 0o700
        assert stat.S_IMODE((own / "identity").stat().st_mode) == 0o600
        assert (own.stat().st_uid, own.stat().st_gid) == (0, 0)
        assert node["metadata"]["PLAIT_SDS"] == "true"
        assert running.state("demo.web-1").weakness == ""
        [asked] = signing.requests
        assert asked.metadata == {"Pod": "demo/web-1", "Proxy": node["id"]}

        running.stop(signal.SIGKILL)
        running.start()
        running.ready("demo.web-1")
        assert len(signing.requests) == 1
        assert (own / "identity").read_bytes() == kept
        assert "PRIVATE" not in running.log.read_text()


@needs_root
def test_a_neighbours_user_and_root_elsewhere_get_nothing_from_a_proxys_sockets(
    signing: Signing, socket: Path, network: Network
):
    del signing
    with agent(f"unix:{socket}") as running:
        running.want(spec(network, "web"))
        running.ready("demo.web-1")
        directory = running.place.proxy("demo.web-1")
        paths = [str(directory / name) for name in ("sds.sock", "xds.sock")]
        for uid in (1337, None):
            command = [*network.prefix("other", uid=uid), "/usr/bin/env", "python3", "-c", _THIEF]
            done = subprocess.run(
                [*command, *paths], capture_output=True, text=True, timeout=60, check=False
            )
            assert done.stdout.split() == ["0"] * 4, done.stderr

        told = eventually(lambda: len(found := refusals(running)) == 4 and found)
        assert len(told) == 4  # of two processes, at two sockets, once each
        assert all("uid=" in line and "pid=" in line and "network=" in line for line in told)
        assert running.state("demo.web-1").ready


def proxy(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    own = ("gateway", "--name", "edge", "--base-id", base_id())
    with (directory / "said").open("wb") as log:
        return subprocess.Popen(
            [*PLAIT, "proxy", *own, *arguments],
            stdout=log,
            stderr=log,
            env={**os.environ, "TMPDIR": str(directory)},
            cwd=ROOT,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def said(directory: Path, text: str) -> str:
    """Wait until it said `text`; all that it said."""
    return str(
        eventually(lambda: text in (found := (directory / "said").read_text()) and found, 30, text)
    )


def test_an_envoy_in_the_foreground_gets_the_identity_of_its_pod(
    signing: Signing, socket: Path, tmp_path: Path
):
    signing.identity = "spiffe://cluster.local/ns/default/sa/default"
    where = ("--xds", f"unix:{socket}", "--pod", "default/edge")
    process = proxy(tmp_path, *where)
    try:
        assert "no identity" not in said(tmp_path, "ready")
        eventually(lambda: list(tmp_path.glob("plait-proxy-*/identity")), what="an identity")
        assert signing.requests[0].metadata["Pod"] == "default/edge"
    finally:
        end(process)
    assert process.returncode == 0
    assert list(tmp_path.glob("plait-proxy-*")) == []


def test_from_another_machine_it_joins_with_a_token_and_comes_back_with_what_that_gave(
    socket: Path, tmp_path: Path
):
    join, door = (f"localhost:{free_port()}" for _ in range(2))
    token, roots = tmp_path / "token", tmp_path / "root.pem"
    token.write_text("canary-token")
    with mesh_at(f"unix:{socket}", server=join, mutual=door) as signing:
        eventually(socket.exists, what="the control plane's socket")
        signing.identity = "spiffe://cluster.local/ns/default/sa/default"
        signing.seconds = 4
        roots.write_text(signing.authority.root)
        where = ("--xds", door, "--join", join, "--token-file", str(token), "--roots", str(roots))
        process = proxy(tmp_path, *where)
        try:
            assert "canary" not in said(tmp_path, "ready")
            eventually(lambda: len(signing.callers) > 1, 20, "it is renewed")
            signing.seconds = 3600
            kept = tmp_path / "token.identity"
            eventually(lambda: json.loads(kept.read_bytes())["seconds"] > 1000, 20, "for long")
        finally:
            end(process)
        token.unlink()  # it is spent
        given = len(signing.callers)
        process = proxy(tmp_path, *where)
        try:
            said(tmp_path, "ready")
            assert len(signing.callers) == given
        finally:
            end(process)

    assert signing.credentials[0] == "Bearer canary-token"
    assert set(signing.credentials[1:]) == {""}
    assert set(signing.callers[1:]) == {signing.identity}
    assert stat.S_IMODE((tmp_path / "token.identity").stat().st_mode) == 0o600


def test_without_a_credential_it_runs_as_it_did_and_says_so(plane: Plane, tmp_path: Path):
    process = proxy(tmp_path, "--xds", plane.xds)
    try:
        assert said(tmp_path, "ready").count("no identity") == 1
    finally:
        end(process)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--pod", "default/edge"), "--pod is for a control plane at unix:PATH"),
        (("--pod", "demo/web", "--xds", "unix:/x"), "they name one Pod"),
        (("--token-file", "token"), "--token-file needs --roots"),
        (("--token-file", "token", "--roots", "/no/such"), "cannot read /no/such"),
    ],
)
def test_what_does_not_fit_together_is_said(
    plane: Plane, tmp_path: Path, arguments: tuple[str, ...], words: str
):
    process = proxy(
        tmp_path, *(("--xds", plane.xds) if "--xds" not in arguments else ()), *arguments
    )

    assert process.wait(30) != 0
    assert words in (tmp_path / "said").read_text()
