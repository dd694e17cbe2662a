"""What is seen of a Pod, in Kubernetes' words; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from plait.base.place import ProxyState
from plait.config.kinds.container import Container
from plait.config.kinds.pod import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    HostIP,
    Pod,
    PodCondition,
    PodIP,
    PodStatus,
)
from plait.config.meta import Object
from plait.platforms.local.containers import Exit, Life, Phase, Policy
from plait.platforms.local.journal import Run
from plait.platforms.local.network import BRIDGE_ADDRESS

_Conditions = tuple[PodCondition, ...]


class Seen(Struct, frozen=True, kw_only=True):
    """What a Pod's status is made of.

    Attributes:
        address: empty before it has one.
        created: seconds since the epoch when the Pod came here.
        runs: by container.
        reason, message: why no container is started yet; empty: they are.
        proxy: how its proxy does; None: it has none.
        is_gateway: the proxy is all there is.
        is_ending: it has been asked to end.
    """

    address: str
    created: float
    runs: Mapping[str, Run] = {}
    reason: str = ""
    message: str = ""
    proxy: ProxyState | None = None
    is_gateway: bool = False
    is_ending: bool = False


def status(pod: Object[Pod], seen: Seen) -> PodStatus:
    """The Pod's status."""
    spec = pod.spec.spec
    inits = tuple(_container(one, seen) for one in spec.init_containers)
    mains = tuple(_main(one, seen) for one in spec.containers)
    phase = _phase(pod, seen)
    return PodStatus(
        phase=phase,
        pod_ip=seen.address,
        pod_ips=(PodIP(ip=seen.address),) if seen.address else (),
        host_ip=BRIDGE_ADDRESS,
        host_ips=(HostIP(ip=BRIDGE_ADDRESS),),
        conditions=_conditions(pod, seen, mains, phase),
        start_time=seen.created,
        init_container_statuses=inits,
        container_statuses=mains,
    )


def policy(pod: Pod) -> Policy:
    """When containers of a Pod are started again."""
    name = pod.spec.restart_policy
    return Policy(name) if name in {one.value for one in Policy} else Policy.ALWAYS


def init_policy(pod: Pod, container: Container) -> Policy:
    """When an init container is: a sidecar always, others until they succeed."""
    if container.restart_policy == Policy.ALWAYS.value:
        return Policy.ALWAYS
    return Policy.NEVER if policy(pod) is Policy.NEVER else Policy.ON_FAILURE


def is_done(container: Container, life: Life) -> bool:
    """Whether what comes after an init container may start."""
    if container.restart_policy == Policy.ALWAYS.value:
        return life.started
    return has_succeeded(life)


def has_succeeded(life: Life) -> bool:
    """Whether a container ended well, for good."""
    return life.phase is Phase.ENDED and life.exit is not None and life.exit.code == 0


def _phase(pod: Object[Pod], seen: Seen) -> str:
    spec = pod.spec.spec
    if seen.is_gateway:
        return "Running" if seen.proxy and seen.proxy.pid else "Pending"
    lives = [_life(one, seen) for one in spec.containers]
    inits = [_life(one, seen) for one in spec.init_containers]
    if not seen.is_ending:
        if any(life.phase is Phase.ENDED and not has_succeeded(life) for life in inits):
            return "Failed"
        if lives and all(life.phase is Phase.ENDED for life in lives):
            return "Succeeded" if all(map(has_succeeded, lives)) else "Failed"
    begun = all(life.phase is not Phase.WAITING or life.exit is not None for life in lives)
    return "Running" if begun else "Pending"


def _conditions(
    pod: Object[Pod], seen: Seen, mains: Sequence[ContainerStatus], phase: str
) -> _Conditions:
    spec = pod.spec.spec
    waiting = [one.name for one in spec.init_containers if not is_done(one, _life(one, seen))]
    begun = not waiting and not seen.reason
    initialized = _condition(
        "Initialized",
        "ContainersNotInitialized",
        seen.message or f"containers with incomplete status: [{' '.join(waiting)}]",
        is_true=begun,
    )
    reason, message = _unready(seen, mains, phase)
    containers = _condition("ContainersReady", reason, message, is_true=not message)
    if not message and seen.is_ending:
        reason, message = "PodTerminating", "the pod has been asked to end"
    elif not message and seen.proxy and not seen.proxy.ready:
        reason, message = "ProxyNotReady", f"the proxy is not ready: {_of_proxy(seen.proxy)}"
    ready = _condition("Ready", reason, message, is_true=not message)
    return PodCondition(type="PodScheduled", status="True"), initialized, containers, ready


def _unready(seen: Seen, mains: Sequence[ContainerStatus], phase: str) -> tuple[str, str]:
    """Why containers are not ready; empty: they are."""
    if phase in ("Succeeded", "Failed"):
        return ("PodCompleted" if phase == "Succeeded" else "PodFailed"), "its containers ended"
    unready = [one for one in mains if not one.ready]
    if not unready:
        return "", ""
    names = " ".join(one.name for one in unready)
    lives = (seen.runs[one.name].life for one in unready if one.name in seen.runs)
    why = [life.message for life in lives if life.message]
    told = why or ([seen.message] if seen.message else [])
    return "ContainersNotReady", "; ".join([f"containers with unready status: [{names}]", *told])


def _condition(type_: str, reason: str, message: str, *, is_true: bool) -> PodCondition:
    if is_true:
        return PodCondition(type=type_, status="True")
    return PodCondition(type=type_, status="False", reason=reason, message=message)


def _main(container: Container, seen: Seen) -> ContainerStatus:
    if not seen.is_gateway:
        return _container(container, seen)
    proxy = seen.proxy or ProxyState(id="")
    running = ContainerState(running=ContainerStateRunning(started_at=proxy.since))
    why = ContainerStateWaiting(reason=seen.reason or "ProxyStarting", message=_of_proxy(proxy))
    return ContainerStatus(
        name=container.name,
        image=container.image,
        state=running if proxy.pid else ContainerState(waiting=why),
        ready=proxy.ready,
        started=proxy.ready,
        restart_count=proxy.restarts,
    )


def _container(container: Container, seen: Seen) -> ContainerStatus:
    run, life = seen.runs.get(container.name), _life(container, seen)
    ended = ContainerState(terminated=_terminated(life.exit)) if life.exit else ContainerState()
    is_over = life.phase is Phase.ENDED and life.exit is not None
    return ContainerStatus(
        name=container.name,
        image=container.image,
        state=ended if is_over else _state(life, seen),
        last_state=ContainerState() if is_over else ended,
        ready=life.ready and not seen.is_ending,
        started=life.started,
        restart_count=life.restarts,
        container_id=f"plait://{run.handle.pid}" if run and run.handle else "",
    )


def _state(life: Life, seen: Seen) -> ContainerState:
    if life.phase in (Phase.RUNNING, Phase.STOPPING):
        return ContainerState(running=ContainerStateRunning(started_at=life.begun))
    reason = life.reason or seen.reason or "ContainerCreating"
    message = life.message or seen.message
    return ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message))


def _terminated(exit: Exit) -> ContainerStateTerminated:
    return ContainerStateTerminated(
        exit_code=exit.code,
        signal=exit.signal,
        reason=exit.reason,
        message=exit.message,
        started_at=exit.started,
        finished_at=exit.finished,
    )


def _life(container: Container, seen: Seen) -> Life:
    """A container runs when it has a process, not when one has been asked for."""
    run = seen.runs.get(container.name, Run())
    if run.life.phase is Phase.RUNNING and run.handle is None:
        return replace(run.life, phase=Phase.WAITING, started=False, ready=False)
    return run.life


def _of_proxy(proxy: ProxyState) -> str:
    return proxy.message or "it waits for its configuration"
