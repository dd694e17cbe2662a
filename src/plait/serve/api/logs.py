"""``pods/NAME/log``: what a container says, as ``kubectl logs`` asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiohttp import web
from msgspec import Struct

from plait.config import injection
from plait.config.kinds.pod import Pod
from plait.config.meta import Object
from plait.serve.api import status
from plait.serve.api.backend import Backend
from plait.serve.api.paths import Target, is_true, whole
from plait.serve.api.reads import found
from plait.serve.api.replies import warned

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_NOT_DONE = ("timestamps", "sinceSeconds", "sinceTime", "limitBytes")


class _Asked(Struct, frozen=True, kw_only=True):
    container: str
    follow: bool
    previous: bool
    tail: int | None


async def logs(backend: Backend, target: Target, request: web.Request) -> web.StreamResponse:
    """A container's log as plain text; followed, it ends with the Pod.

    Raises:
        StatusError: 400; there is no such container, or it has not said anything to anybody.
    """
    if request.method != "GET":
        raise status.method_not_allowed()
    record = found(backend, target)
    pod: Object[Pod] | None = record.object
    if backend.runtime is None or pod is None:
        raise status.bad_request(f'pod "{target.name}" does not run here: it has no logs')
    asked = _asked(pod, request)
    try:
        parts = backend.runtime.logs(
            record.key,
            asked.container,
            follow=asked.follow,
            previous=asked.previous,
            tail=asked.tail,
        )
    except LookupError as error:
        raise status.bad_request(str(error)) from error
    answer = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    warned(answer, _warnings(pod, asked, request.query))
    await answer.prepare(request)
    try:
        async for part in parts:
            await answer.write(part)
    except ConnectionResetError:
        pass  # the client left
    return answer


def default_container(pod: Object[Pod] | None) -> str:
    """The container that is meant where none is named; empty: there is none."""
    if pod is None:
        return ""
    first = (one.name for one in pod.spec.spec.containers)
    return pod.annotations.get(_DEFAULT_CONTAINER) or next(first, "")


def _warnings(pod: Object[Pod], asked: _Asked, query: Mapping[str, str]) -> Iterator[str]:
    """What the client should know: also which container it is where it named none, as kubectl."""
    every = _containers(pod)
    if not query.get("container") and len(every) > 1 and _DEFAULT_CONTAINER not in pod.annotations:
        yield f'Defaulted container "{asked.container}" out of: {", ".join(every)}'
    for name in _NOT_DONE:
        if query.get(name) not in (None, "", "false"):
            yield f"{name} has no effect: lines are given as they were said"


def _containers(pod: Object[Pod]) -> list[str]:
    """Names of those that the user wrote; a proxy of ours is not among them."""
    spec = pod.spec.spec
    return [one.name for one in (*spec.containers, *spec.init_containers)]


def _asked(pod: Object[Pod], request: web.Request) -> _Asked:
    query = request.query
    tail = whole(query, "tailLines", -1)
    return _Asked(
        container=_container(pod, query.get("container", "")),
        follow=is_true(query, "follow"),
        previous=is_true(query, "previous"),
        tail=None if tail < 0 else tail,
    )


def _container(pod: Object[Pod], wanted: str) -> str:
    """The container asked for, or the one that is meant where none is named."""
    every = _containers(pod)
    if injection.proxy(pod) is not injection.Proxy.NONE and injection.PROXY not in every:
        every.append(injection.PROXY)
    wanted = wanted or default_container(pod)
    if wanted not in every:
        name = pod.key.name
        raise status.bad_request(
            f"container {wanted} is not valid for pod {name}: choose one of {', '.join(every)}"
        )
    return wanted
