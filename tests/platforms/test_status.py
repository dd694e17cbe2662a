"""What is seen of a Pod, in Kubernetes' words."""

import pytest

from plait.base.place import ProxyState
from plait.base.processes import Handle
from plait.platforms.local.containers import Exit, Life, Phase
from plait.platforms.local.journal import Run
from plait.platforms.local.status import Seen, status
from tests.support.platform import condition, container, pod

HANDLE = Handle(7, 1)
RUNNING = Run(life=Life(phase=Phase.RUNNING, begun=5, started=True, ready=True), handle=HANDLE)
DONE = Run(life=Life(phase=Phase.ENDED, exit=Exit(code=0, reason="Completed")))
FAILED = Run(life=Life(phase=Phase.ENDED, exit=Exit(code=2, reason="Error")))


def seen(run: Run | None = None, **more: object) -> Seen:
    runs = {"app": run} if run else {}
    return Seen(address="10.244.0.2", created=1, runs=runs, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("run", "phase", "ready"),
    [
        (None, "Pending", "False"),
        (RUNNING, "Running", "True"),
        (Run(life=RUNNING.life), "Pending", "False"),
        (Run(life=Life(phase=Phase.WAITING, exit=Exit(code=1))), "Running", "False"),
        (DONE, "Succeeded", "False"),
        (FAILED, "Failed", "False"),
    ],
)
def test_the_phase_follows_from_the_containers(run, phase, ready):
    found = status(pod(), seen(run))

    assert (found.phase, condition(found, "Ready")[0]) == (phase, ready)


def test_a_running_container_says_since_when_and_as_which_process():
    found = container(status(pod(), seen(RUNNING)))

    assert found.state.running is not None
    assert (found.state.running.started_at, found.container_id) == (5, "plait://7")


def test_before_containers_start_they_say_what_they_wait_for():
    found = status(pod(), seen(reason="ProxyStarting", message="the proxy is not ready"))

    waiting = container(found).state.waiting
    assert waiting is not None
    assert (waiting.reason, waiting.message) == ("ProxyStarting", "the proxy is not ready")
    assert "the proxy is not ready" in condition(found, "Ready")[2]


def test_a_pod_is_ready_only_with_its_proxy():
    found = status(pod(), seen(RUNNING, proxy=ProxyState(id="p", message="it crashed")))

    assert condition(found, "ContainersReady")[0] == "True"
    assert condition(found, "Ready") == (
        "False",
        "ProxyNotReady",
        "the proxy is not ready: it crashed",
    )


def test_a_pod_that_ends_is_not_ready():
    found = status(pod(), seen(RUNNING, is_ending=True))

    assert condition(found, "Ready")[0] == "False"


def test_a_failed_init_container_fails_the_pod():
    asked = pod(spec={"initContainers": [{"name": "init", "image": "sh"}]})
    found = status(asked, Seen(address="", created=1, runs={"init": FAILED}))

    assert found.phase == "Failed"
    assert condition(found, "Initialized") == (
        "False",
        "ContainersNotInitialized",
        "containers with incomplete status: [init]",
    )


def test_a_gateway_counts_its_proxys_restarts():
    asked = pod(
        annotations={"inject.istio.io/templates": "gateway"},
        spec={"containers": [{"name": "istio-proxy", "image": "auto"}]},
    )
    proxy = ProxyState(id="p", pid=9, ready=True, restarts=2)
    found = status(asked, Seen(address="", created=1, proxy=proxy, is_gateway=True))

    assert (found.phase, container(found, "istio-proxy").restart_count) == ("Running", 2)
    assert condition(found, "Ready")[0] == "True"
