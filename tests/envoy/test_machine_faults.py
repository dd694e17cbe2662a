"""A mesh on this machine that is hurt: killed parts, bad input, and what is left at the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from examples.bookinfo.check import processes as running
from examples.bookinfo.check import traces
from plait.base import place as places
from plait.base import processes
from tests.support import istio, traffic
from tests.support.envoy import eventually
from tests.support.machine import MODES, Machine, machine
from tests.support.netns import needs_root
from tests.support.plane import free_port

pytestmark = needs_root
HOST = {"Host": "reviews.example"}


@pytest.fixture(scope="module", params=MODES)
def world(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with machine(mode=request.param) as found:
        http = istio.weights("reviews", port=9080, v1=50, v2=50)
        hosts = [istio.host("reviews"), "reviews.example"]
        found.write(
            "routing",
            istio.virtual_service("reviews", http, hosts=hosts, gateways=["gw", "mesh"]),
        )
        eventually(lambda: traffic.get(found.gateway, headers=HOST)[0] == 200, what="a 200")
        yield found


def plane(world: Machine) -> int:
    """The control plane's process."""
    mesh = places.read(world.place.mesh, places.Mesh)
    assert mesh is not None
    return mesh.pid


def agent(world: Machine) -> int:
    """The agent's process."""
    handle = places.read(world.place.agent, processes.Handle)
    assert handle is not None
    return handle.pid


def test_a_killed_control_plane_fails_no_request_and_an_envoy_killed_then_comes_back(
    world: Machine,
):
    with traffic.Load(world.gateway, headers=HOST) as load:
        os.kill(plane(world), signal.SIGKILL)
        eventually(lambda: load.sent > 600, what="requests without a control plane")
    assert load.failures == []

    proxy = _proxy_of(world, "istio-ingressgateway")
    os.kill(_state(world, proxy).pid, signal.SIGKILL)
    eventually(
        lambda: traffic.get(world.gateway, headers=HOST)[0] == 200, 30, "the gateway is back"
    )

    assert world.up()
    assert set(traffic.names(world.gateway, 40, headers=HOST)) == {"v1", "v2"}


def test_a_killed_agent_is_followed_by_another_and_proxies_serve_on(world: Machine):
    before = agent(world)
    pids = {p: _state(world, p).pid for p in _proxies(world)}
    with traffic.Load(world.gateway, headers=HOST) as load:
        os.kill(before, signal.SIGKILL)
        eventually(lambda: agent(world) != before and load.sent > 400, 30, "a new agent")

    assert load.failures == []
    eventually(lambda: _state(world, next(iter(pids))).ready, 30, "the new agent says so")
    assert {p: _state(world, p).pid for p in pids} == pids


def test_a_killed_edge_comes_back_and_calls_inside_do_not_fail(world: Machine):
    before = _edge(world)
    with ThreadPoolExecutor() as pool, traffic.Load(world.gateway, headers=HOST) as load:
        eventually(lambda: load.seen.total() > 50, what="requests before")
        inside = pool.submit(world.call, "dict(traffic.names('reviews:9080', 2000))")
        os.kill(before, signal.SIGKILL)
        eventually(lambda: _edge(world) not in (0, before), 30, "another edge")
        _serves_again(load)

    assert set(eval(inside.result())) == {"v1", "v2"}


def test_a_killed_sidecar_comes_back_and_fails_its_own_requests_only(world: Machine):
    for version in ("v1", "v2"):
        http = istio.weights("reviews", port=9080, **{version: 100})
        hosts = [f"{version}.example"]
        world.apply(istio.virtual_service(version, http, hosts=hosts, gateways=["gw"]))
    proxy = _proxy_of(world, "reviews-v1")
    before = _state(world, proxy).pid
    with (
        traffic.Load(world.gateway, headers={"Host": "v1.example"}) as own,
        traffic.Load(world.gateway, headers={"Host": "v2.example"}) as other,
    ):
        eventually(lambda: own.seen.total() > 50, what="requests before")
        os.kill(before, signal.SIGKILL)
        eventually(lambda: _state(world, proxy).pid not in (0, before), 30, "another Envoy")
        _serves_again(own)
        _serves_again(other)

    assert other.failures == []
    assert set(own.seen) == {"v1"}
    assert _state(world, proxy).restarts == 1


def _serves_again(load: traffic.Load) -> None:
    """Wait for one good answer, and then for many with no other between them."""
    good = load.seen.total()
    eventually(lambda: load.seen.total() > good, 30, "a good answer")
    good, bad = load.seen.total(), len(load.failures)
    eventually(lambda: load.seen.total() > good + 200, 30, "more of them")
    assert load.failures[bad:] == []


def _edge(world: Machine) -> int:
    """The process of the edge; 0: it has none."""
    state = places.read(world.place.state(places.EDGE), places.EdgeState)
    return state.pid if state else 0


def test_a_killed_application_is_restarted_and_its_endpoint_goes_and_returns(world: Machine):
    pod = world.pod(app="reviews", version="v1")
    with world.watching("endpointslices", "-l", "kubernetes.io/service-name=reviews") as seen:
        os.kill(world.program(pod), signal.SIGKILL)
        eventually(lambda: '"ready": false' in seen(), 30, "the endpoint goes")

    def restarts() -> int:
        status = world.pod(app="reviews", version="v1")["status"]
        return int(status["containerStatuses"][0]["restartCount"])

    eventually(lambda: restarts() == 1, 30, "the restart is counted")
    eventually(lambda: world.workloads()["reviews-v1"]["ready"] == 1, 30, "it is ready again")
    eventually(lambda: traffic.names(world.gateway, 40, headers=HOST)["v1"] > 0, what="v1 answers")
    (line,) = world.run("get", "pods", "-l", "app=reviews,version=v1").splitlines()[1:]
    assert line.split()[1:4] == ["1/1", "Running", "1"]
    (line,) = [one for one in world.run("status").splitlines() if "default/reviews-v1" in one]
    assert line.split()[1:] == ["1/1", "1", "Running"]


def test_it_scales_up_and_down(world: Machine):
    world.run("scale", "deployment/reviews-v2", "--replicas", "3", "--wait")
    assert len(world.pods(app="reviews", version="v2")) == 3

    world.run("scale", "deployment/reviews-v2", "--replicas", "1")
    eventually(lambda: len(world.pods(app="reviews", version="v2")) == 1, 60, "two are gone")


def test_a_restart_replaces_the_pods_and_fails_no_request(world: Machine):
    before = {pod["metadata"]["name"] for pod in world.pods(app="reviews", version="v1")}
    with traffic.Load(world.gateway, headers=HOST) as load:
        said = world.run("restart", "deployment/reviews-v1", "--wait")
        eventually(lambda: load.sent > 400, what="requests meanwhile")

    def left() -> set[str]:
        return {pod["metadata"]["name"] for pod in world.pods(app="reviews", version="v1")}

    eventually(lambda: len(left()) == 1, 30, "the old Pod is gone")
    after = left()
    assert "deployment.apps/reviews-v1 restarted" in said
    assert len(after) == 1
    assert not before & after
    assert load.failures == []


def test_commands_and_logs_of_workloads(world: Machine):
    name = world.pod(app="web")["metadata"]["name"]

    assert world.run("exec", name, "--", "hostname").strip() == name
    assert world.run("exec", "deployment/web-v1", "--", "sh", "-c", "exit 7", ok=False) == ""
    assert "ready" in world.run("logs", "deployment/web-v1")
    assert world.run("logs", name, "--tail", "1").count("\n") <= 1
    assert "there is no deployment.apps/nobody" in world.run("logs", "deploy/nobody", ok=False)
    assert 'no container "nobody"' in world.run(
        "exec", name, "-c", "nobody", "--", "true", ok=False
    )
    assert "plait scale" in _without_pods(world)


def _without_pods(world: Machine) -> str:
    """What logs of a workload say that was scaled to nothing."""
    world.run("scale", "deployment/reviews-v2", "--replicas", "0", "--wait")
    try:
        eventually(lambda: not world.pods(app="reviews", version="v2"), 30, "the Pod is gone")
        return world.run("logs", "deployment/reviews-v2", ok=False)
    finally:
        world.run("scale", "deployment/reviews-v2", "--replicas", "1", "--wait")


@pytest.mark.parametrize("mode", MODES)
def test_everything_killed_comes_up_again_and_down_leaves_nothing(mode: str):
    with machine(mode=mode) as world:
        top = str(world.data)
        before = traces(top)
        before_all = world.programs()
        assert len(before_all) == 3
        for pid in (*running(top), *before_all):
            os.kill(pid, signal.SIGKILL)

        world.up()

        assert traffic.get(world.gateway)[0] == 404
        assert world.call("traffic.get('reviews:9080')[0]") == "200"
        programs, after = world.programs(), traces(top)
        world.down()
        assert running(top) == []
        assert not any(processes.is_running(pid) for pid in (*before_all, *programs))
        assert not world.data.exists()
    assert len(after) > 4
    assert not [path for path in before | after if Path(path).exists()]


def test_a_note_that_cannot_be_written_ends_nothing_and_is_written_later(world: Machine):
    before, log = plane(world), world.data / "serve.log"
    note = world.place.edge.read_bytes()
    world.place.edge.unlink()
    (world.place.edge / "in the way").mkdir(parents=True)
    port = free_port()
    world.write("more", istio.gateway("more", (port, "HTTP")))
    try:
        eventually(lambda: "task=doors" in log.read_text(), what="a failure that is told")
        assert plane(world) == before
        assert places.read(world.place.mesh, places.Mesh) is not None
    finally:
        (world.place.edge / "in the way").rmdir()
        world.place.edge.rmdir()

    eventually(world.place.edge.exists, what="the note")
    assert str(port) in world.place.edge.read_text()
    assert world.place.edge.read_bytes() != note
    assert processes.is_running(before)


def _proxies(world: Machine) -> list[str]:
    return [path.stem for path in world.place.specs.glob("*.json")]


def _proxy_of(world: Machine, word: str) -> str:
    return next(name for name in _proxies(world) if word[:10] in name)


def _state(world: Machine, proxy: str) -> places.ProxyState:
    state = places.read(world.place.state(proxy), places.ProxyState)
    assert state is not None
    return state
