"""The agent with real Envoys in network namespaces, behind a real control plane."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from plait.agent.binary import envoy_binary
from plait.base.place import ProxySpec
from tests.support.agent import LONG, Agent, agent, memory, page, status
from tests.support.envoy import eventually, validate
from tests.support.netns import Network, needs_root
from tests.support.plane import Plane

pytestmark = needs_root
READY, STATS = "/healthz/ready", "/stats/prometheus"
_APPLICATION = """
import http.server, socket
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = b"# TYPE app_orders_total counter\\napp_orders_total 7\\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
http.server.HTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("127.0.0.1", 9080), Page).serve_forever()
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with Plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as made:
        made.host("web")
        made.host("other")
        yield made


@pytest.fixture
def running(plane: Plane) -> Iterator[Agent]:
    with agent(plane.xds) as made:
        yield made


def path(network: Network, host: str) -> str:
    return f"/run/netns/{network.namespace(host)}"


def sidecar(hosts: Network, **more: object) -> ProxySpec:
    spec = ProxySpec(
        id="demo.web-1",
        name="web-1",
        namespace="demo",
        addresses=(hosts.address("web"),),
        labels={"app": "web"},
        workload="web",
        network=path(hosts, "web"),
        termination_drain=0.2,
    )
    return replace(spec, **more)


@contextmanager
def application(network: Network) -> Iterator[None]:
    command = [*network.prefix("web"), sys.executable, "-c", _APPLICATION]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: page(path(network, "web"), 9080, "/"), LONG, "the application answers")
        yield
    finally:
        process.kill()
        process.wait(10)


def test_envoy_runs_as_its_own_user_in_the_pods_network_with_the_documented_flags(
    running: Agent, network: Network, tmp_path: Path
):
    running.want(sidecar(network, concurrency=3))
    found = running.ready("demo.web-1")

    about = status(found.pid)
    assert about["Uid"].split() == about["Gid"].split() == ["1337"] * 4
    words = Path(f"/proc/{found.pid}/cmdline").read_bytes().decode().split("\0")
    for flag, value in {
        "--concurrency": "3",
        "--drain-time-s": "45",
        "--parent-shutdown-time-s": "60",
        "--restart-epoch": "0",
        "-l": "warning",
    }.items():
        assert words[words.index(flag) + 1] == value
    assert "--disable-hot-restart" not in words
    assert Path(f"/proc/{found.pid}/environ").read_bytes() == b""
    assert os.readlink(f"/proc/{found.pid}/exe") == str(envoy_binary())
    assert (
        Path(f"/proc/{found.pid}/ns/net").stat().st_ino == Path(path(network, "web")).stat().st_ino
    )
    validate(json.loads((running.place.proxy("demo.web-1") / "envoy.json").read_text()), tmp_path)


def test_workers_are_as_many_as_the_platform_says(running: Agent, network: Network):
    running.want(sidecar(network, concurrency=2))
    running.ready("demo.web-1")

    _, text = page(path(network, "web"), 15000, "/stats?filter=server.concurrency")

    assert text.strip() == "server.concurrency: 2"


def test_what_envoy_may_change_is_only_its_own_place_for_sockets(running: Agent, network: Network):
    running.want(sidecar(network))
    running.ready("demo.web-1")
    directory = running.place.proxy("demo.web-1")

    about, edge = directory.stat(), (directory / "edge").stat()
    assert (about.st_uid, about.st_gid, about.st_mode & 0o777) == (0, 1337, 0o750)
    assert (edge.st_uid, edge.st_mode & 0o777) == (1337, 0o700)


def test_it_is_not_ready_before_the_control_plane_said_something(
    plane: Plane, network: Network, tmp_path: Path
):
    with Plane(tmp_path) as late, agent(late.xds) as running:
        late.stop(signal.SIGKILL)
        running.want(sidecar(network))
        ports = (15020, 15021)
        for port in ports:
            eventually(partial(page, path(network, "web"), port, READY), LONG)
        eventually(lambda: running.state("demo.web-1").pid, LONG, "Envoy runs")
        before = [page(path(network, "web"), port, READY)[0] for port in ports]
        waiting = running.state("demo.web-1")

        late.start()
        running.ready("demo.web-1")
        after = [page(path(network, "web"), port, READY)[0] for port in ports]

    assert (before, after) == ([503, 503], [200, 200])
    assert (waiting.ready, waiting.message) == (False, "Envoy waits for its configuration")


def test_metrics_of_application_agent_and_envoy_are_one_page(running: Agent, network: Network):
    with application(network):
        running.want(sidecar(network, metrics="http://127.0.0.1:9080/metrics"))
        running.ready("demo.web-1")
        code, text = page(path(network, "web"), 15020, STATS)

    lines = text.splitlines()
    assert code == 200
    assert "app_orders_total 7" in lines
    assert "plait_agent_ready 1" in lines
    assert any(line.startswith("envoy_server_concurrency") for line in lines)
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))


def test_an_application_that_gives_no_metrics_is_left_out_and_counted(
    running: Agent, network: Network
):
    running.want(sidecar(network, metrics="http://127.0.0.1:9999/metrics"))
    running.ready("demo.web-1")
    page(path(network, "web"), 15020, STATS)

    _, text = page(path(network, "web"), 15020, STATS)

    assert "plait_agent_application_scrape_failures_total 2" in text
    assert "envoy_server_concurrency" in text


def test_quitting_ends_envoy_for_good_and_is_for_the_pod_itself(running: Agent, network: Network):
    spec = sidecar(network)
    running.want(spec)
    first = running.ready(spec.id)
    from_outside = page(
        path(network, "other"), 15020, "/quitquitquit", "POST", network.address("web")
    )
    looked_at = page(path(network, "web"), 15020, "/quitquitquit")
    asked = page(path(network, "web"), 15020, "/quitquitquit", "POST")
    eventually(lambda: running.state(spec.id).pid == 0, LONG, "Envoy has ended")
    eventually(lambda: not Path(f"/proc/{first.pid}").exists(), LONG)
    running.stop(signal.SIGKILL)
    running.start()
    eventually(lambda: page(path(network, "web"), 15021, READY)[0] == 503, LONG)

    assert (from_outside[0], looked_at[0], asked[0]) == (403, 405, 200)
    assert "quitquitquit" in running.state(spec.id).message
    assert running.state(spec.id).pid == 0

    running.unwant(spec.id)
    running.gone(spec.id)


def test_draining_fails_the_health_check_of_an_envoy_that_runs_on(running: Agent, network: Network):
    running.want(sidecar(network))
    running.ready("demo.web-1")

    done = page(path(network, "web"), 15020, "/drain", "POST")

    assert done[0] == 200
    assert page(path(network, "web"), 15021, READY)[0] == 503


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_envoy_outlives_the_agent_and_the_next_one_goes_on_with_it(
    running: Agent, network: Network, sign: signal.Signals
):
    running.want(sidecar(network))
    before = running.ready("demo.web-1")
    running.stop(sign)
    alive = Path(f"/proc/{before.pid}").exists()
    (running.place.state("demo.web-1")).unlink()
    running.start()

    after = running.ready("demo.web-1")

    assert alive
    assert (after.pid, after.restarts) == (before.pid, 0)
    eventually(lambda: page(path(network, "web"), 15021, READY)[0] == 200, LONG)


def test_an_envoy_whose_start_nobody_could_write_down_is_found(running: Agent, network: Network):
    spec = sidecar(network)
    running.want(spec)
    before = running.ready(spec.id)
    running.stop(signal.SIGKILL)
    note = running.place.proxy(spec.id) / "journal.json"
    note.write_text(json.dumps({"base_id": running.journal(spec.id).base_id}))
    running.place.state(spec.id).unlink()
    running.start()

    assert running.ready(spec.id).pid == before.pid
    handle = running.journal(spec.id).handle
    assert handle is not None
    assert handle.pid == before.pid


def test_an_envoy_that_is_killed_comes_back_also_without_the_control_plane(
    network: Network, tmp_path: Path
):
    with Plane(tmp_path) as lost, agent(lost.xds) as running:
        running.want(sidecar(network))
        first = running.ready("demo.web-1")
        kept = running.place.proxy("demo.web-1") / "cache"
        eventually(kept.exists, LONG, "what Envoy took is kept")
        lost.stop(signal.SIGKILL)
        os.kill(first.pid, signal.SIGKILL)

        second = running.ready("demo.web-1", other_than=first.pid)

    assert second.restarts == 1


def test_an_envoy_that_cannot_start_is_tried_again_and_its_words_are_told(
    running: Agent, network: Network
):
    later = f"{network.bridge}-late"
    running.want(sidecar(network, network=f"/run/netns/{later}"))
    eventually(lambda: "cannot start" in running.state("demo.web-1").message, LONG)
    failed = running.state("demo.web-1")
    subprocess.run(["ip", "netns", "add", later], check=True)
    try:
        subprocess.run(["ip", "-n", later, "link", "set", "lo", "up"], check=True)
        found = running.ready("demo.web-1")
    finally:
        running.unwant("demo.web-1")
        running.gone("demo.web-1")
        subprocess.run(["ip", "netns", "del", later], check=True)

    assert (failed.ready, found.message) == (False, "")
    assert later in failed.message


@pytest.mark.parametrize("meanwhile", [False, True])
def test_of_a_proxy_that_is_no_longer_wanted_nothing_is_left(
    running: Agent, network: Network, meanwhile: bool
):
    spec = sidecar(network)
    running.want(spec)
    envoy = running.ready(spec.id)
    shared = memory(running.journal(spec.id).base_id)
    there = shared.exists()
    if meanwhile:
        running.stop(signal.SIGKILL)
    running.unwant(spec.id)
    if meanwhile:
        running.start()

    running.gone(spec.id)

    assert there
    assert not shared.exists()
    eventually(lambda: not Path(f"/proc/{envoy.pid}").exists(), LONG, "Envoy has ended")


def test_a_proxy_that_is_wanted_otherwise_is_replaced(running: Agent, network: Network):
    running.want(sidecar(network))
    first = running.ready("demo.web-1")

    running.want(
        sidecar(network, network=path(network, "other"), addresses=(network.address("other"),))
    )
    second = running.ready("demo.web-1", other_than=first.pid)

    there = Path(f"/proc/{second.pid}/ns/net").stat().st_ino
    assert there == Path(path(network, "other")).stat().st_ino


def test_a_second_agent_says_who_is_in_charge(running: Agent):
    done = running.second()

    assert done.returncode == 1
    assert running.process is not None
    assert done.stderr.startswith("error: an agent is in charge of ")
    assert str(running.process.pid) in done.stderr


def test_a_note_that_cannot_be_read_harms_no_proxy(running: Agent, network: Network):
    running.want(sidecar(network))
    before = running.ready("demo.web-1")
    running.place.spec("demo.web-1").write_text("half a no")
    running.place.spec("demo.broken").write_text("{}")
    running.want(sidecar(network, id="demo.web-2", network=path(network, "other")))

    running.ready("demo.web-2")

    assert running.state("demo.web-1") == before
