"""What every runtime must do: subclass `RuntimeContract` with a fixture `subject`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

import pytest

from plait.config.kinds.pod import Pod, PodStatus
from plait.config.meta import Key, Object
from plait.config.ports import PodFiles, PodState, Runtime

PATIENCE = 30.0
NONE = PodFiles()
MISSING = 'configmap "settings" not found'


class Subject(Protocol):
    """A runtime to try, and Pods that it can run."""

    def runtime(self) -> AbstractAsyncContextManager[Runtime]:
        """A runtime without Pods; what it runs ends with the block."""
        ...

    def pod(self, name: str, uid: str = "u1") -> Object[Pod]:
        """A Pod with one container, ``app``, that says ``hello`` in a line and goes on."""
        ...


Seen = Callable[[Key, Callable[[PodStatus], bool]], Awaitable[PodStatus]]


class RuntimeContract:
    """The suite."""

    def test_a_pod_that_is_run_gets_an_address_and_becomes_ready(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pod = subject.pod("a")
            await runtime.run(pod, NONE)

            status = await seen(pod.key, is_ready)

            (container,) = status.container_statuses
            assert status.phase == "Running"
            assert status.pod_ip
            assert (container.name, container.ready, container.restart_count) == ("app", True, 0)
            assert container.state.running is not None
            assert runtime.status(pod.key) == status

        check(subject, body)

    def test_two_pods_have_addresses_of_their_own(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pods = [subject.pod("a"), subject.pod("b")]
            for pod in pods:
                await runtime.run(pod, NONE)

            found = {(await seen(pod.key, is_ready)).pod_ip for pod in pods}

            assert len(found) == 2

        check(subject, body)

    def test_who_asks_again_changes_nothing(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pod = subject.pod("a")
            await runtime.run(pod, NONE)
            before = await seen(pod.key, is_ready)
            await runtime.run(pod, NONE)
            await runtime.run(subject.pod("b"), NONE)
            await seen(subject.pod("b").key, is_ready)

            after = await seen(pod.key, is_ready)

            assert after == before

        check(subject, body)

    def test_a_new_observer_is_told_of_everything_first(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pods = [subject.pod("a"), subject.pod("b")]
            for pod in pods:
                await runtime.run(pod, NONE)
                await seen(pod.key, is_ready)

            assert {state.key for state in await first(runtime)} == {pod.key for pod in pods}

        check(subject, body)

    def test_a_pod_that_was_stopped_is_gone(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pod = subject.pod("a")
            await runtime.run(pod, NONE)
            await seen(pod.key, is_ready)
            await runtime.stop(pod.key, 5)

            assert await first(runtime) == []
            assert runtime.status(pod.key) is None
            with pytest.raises(LookupError, match="a"):
                runtime.entry(pod.key, "app", ["true"])

        check(subject, body)

    def test_a_pod_can_be_stopped_at_any_time_and_run_again(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pod = subject.pod("a")
            await runtime.stop(pod.key, 5)
            await runtime.run(pod, NONE)
            await runtime.stop(pod.key, 0)
            await runtime.run(pod, NONE)

            await seen(pod.key, is_ready)

        check(subject, body)

    def test_a_second_stop_with_less_grace_is_no_trouble(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pod = subject.pod("a")
            await runtime.run(pod, NONE)
            await seen(pod.key, is_ready)
            async with asyncio.TaskGroup() as group:
                group.create_task(runtime.stop(pod.key, PATIENCE * 10))
                group.create_task(runtime.stop(pod.key, 0))

            assert await first(runtime) == []

        check(subject, body)

    def test_a_pod_of_the_same_name_takes_the_place_of_the_one_before(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            old, new = subject.pod("a"), subject.pod("a", uid="u2")
            await runtime.run(old, NONE)
            before = await seen(old.key, is_ready)
            await runtime.run(new, NONE)

            await seen(new.key, lambda s: is_ready(s) and _container(s) != _container(before))

        check(subject, body)

    def test_a_pod_waits_for_what_is_missing_and_says_for_what(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pod = subject.pod("a")
            await runtime.run(pod, PodFiles(problems=(MISSING,)))
            waiting = await seen(pod.key, lambda s: _reason(s) == "CreateContainerConfigError")
            assert not is_ready(waiting)
            assert MISSING in _message(waiting)

            await runtime.run(pod, NONE)
            await seen(pod.key, is_ready)

        check(subject, body)

    def test_logs_are_what_the_container_said(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pod = subject.pod("a")
            await runtime.run(pod, NONE)
            await seen(pod.key, is_ready)

            async with aclosing(logs(runtime, pod.key, follow=True)) as parts:  # type: ignore[type-var]
                said = b""
                async for part in parts:
                    said += part
                    if said.endswith(b"\n"):
                        break
            rest = [part async for part in logs(runtime, pod.key, tail=1)]

            assert said == b"hello\n"
            assert b"".join(rest) == b"hello\n"
            assert [part async for part in logs(runtime, pod.key, tail=0)] == []

        check(subject, body)

    def test_logs_that_are_followed_end_with_the_pod(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pod = subject.pod("a")
            await runtime.run(pod, NONE)
            await seen(pod.key, is_ready)
            said: list[bytes] = []

            async def follow() -> None:
                said.extend([part async for part in logs(runtime, pod.key, follow=True)])

            async with asyncio.TaskGroup() as group:
                group.create_task(follow())
                await asyncio.sleep(0)
                group.create_task(runtime.stop(pod.key, 5))

            assert b"".join(said).startswith(b"hello\n")

        check(subject, body)

    def test_what_is_not_there_has_no_logs_and_no_entry(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pod = subject.pod("a")
            await runtime.run(pod, NONE)
            await seen(pod.key, is_ready)

            for key, container in ((subject.pod("b").key, "app"), (pod.key, "no")):
                with pytest.raises(LookupError, match=r"b|no"):
                    _ = [part async for part in logs(runtime, key, container=container)]
                with pytest.raises(LookupError, match=r"b|no"):
                    runtime.entry(key, container, ["true"])

        check(subject, body)

    def test_a_command_can_be_started_inside(self, subject: Subject):
        async def body(runtime: Runtime, seen: Seen) -> None:
            pod = subject.pod("a")
            await runtime.run(pod, NONE)
            await seen(pod.key, is_ready)

            command = runtime.entry(pod.key, "app", ["env", "x"])

            assert tuple(command.command) == ("env", "x")

        check(subject, body)


def check(subject: Subject, body: Callable[[Runtime, Seen], Awaitable[None]]) -> None:
    """Run a test of the suite; `seen` waits for a state of a Pod."""

    async def main() -> None:
        async with asyncio.timeout(PATIENCE), subject.runtime() as runtime:
            known: dict[Key, PodStatus] = {}
            news = asyncio.Condition()

            async def watch() -> None:
                async for states in runtime.observe():
                    async with news:
                        known.update({state.key: state.status for state in states})
                        news.notify_all()

            async def seen(key: Key, is_so: Callable[[PodStatus], bool]) -> PodStatus:
                async with news:
                    await news.wait_for(lambda: key in known and is_so(known[key]))
                    return known[key]

            async with asyncio.TaskGroup() as group:
                watching = group.create_task(watch())
                await body(runtime, seen)
                watching.cancel()

    asyncio.run(main())


def logs(
    runtime: Runtime,
    pod: Key,
    *,
    container: str = "app",
    follow: bool = False,
    tail: int | None = None,
) -> AsyncIterator[bytes]:
    return runtime.logs(pod, container, follow=follow, previous=False, tail=tail)


async def first(runtime: Runtime) -> Sequence[PodState]:
    """What a new observer is told at once."""
    async with aclosing(runtime.observe()) as states:  # type: ignore[type-var]
        return list(await anext(states))


def is_ready(status: PodStatus) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in status.conditions)


def _container(status: PodStatus) -> str:
    return status.container_statuses[0].container_id


def _reason(status: PodStatus) -> str:
    found = [one.state.waiting.reason for one in status.container_statuses if one.state.waiting]
    return found[0] if found else ""


def _message(status: PodStatus) -> str:
    found = [one.state.waiting.message for one in status.container_statuses if one.state.waiting]
    return found[0] if found else ""
