"""kubectl with Deployments that run: scale, logs, rollouts, deletes that take their time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import Api, Said, api, at, until
from tests.support.runtime import FakeRuntime
from tests.support.stores import change
from tests.support.workloads import deployment, pod

PODS = "/api/v1/namespaces/demo/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/demo/deployments"


def check(path: Path, body: Callable[[Api, FakeRuntime], Awaitable[None]]) -> None:
    async def main() -> None:
        runtime = FakeRuntime()
        async with api(path, runtime=runtime) as served:
            await body(served, runtime)

    asyncio.run(main())


async def apply(served: Api, document: dict[str, Any]) -> str:
    ran = await served.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    assert ran.code == 0, ran.err
    return ran.out


async def kubectl(served: Api, *arguments: str) -> str:
    ran = await served.kubectl(*arguments, "-n", "demo")
    assert ran.code == 0, ran.err
    return ran.out


async def pods(served: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await served.request("GET", PODS)).json["items"]
    return found


async def names(served: Api) -> list[str]:
    return [one["metadata"]["name"] for one in await pods(served)]


def test_rollout_status_waits_until_all_is_there(tmp_path: Path):
    async def body(served: Api, runtime: FakeRuntime) -> None:
        runtime.is_ready = lambda _: False
        await apply(served, deployment(replicas=2))
        waiting = await served.kubectl_process(
            "rollout", "status", "deployment/web", "-n", "demo", "--timeout=20s"
        )
        await until(lambda: len(runtime.pods) == 2, "Pods run")
        assert waiting.returncode is None
        runtime.turn(runtime.pods, ready=True)
        out, _ = await asyncio.wait_for(waiting.communicate(), 20)

        assert b'deployment "web" successfully rolled out' in out
        assert "web" in await kubectl(served, "rollout", "history", "deployment/web")

    check(tmp_path, body)


def test_scale_reads_and_writes_the_number_of_replicas(tmp_path: Path):
    async def body(served: Api, runtime: FakeRuntime) -> None:
        await apply(served, deployment())
        said = await kubectl(served, "scale", "deployment/web", "--replicas=3")
        assert said == "deployment.apps/web scaled\n"
        await until(lambda: len(runtime.pods) == 3, "three Pods")
        refused = await served.kubectl(
            "scale", "deployment/web", "--replicas=5", "--current-replicas=2", "-n", "demo"
        )
        assert "Expected replicas to be 2" in refused.err
        found = (await served.request("GET", f"{DEPLOYMENTS}/web/scale")).json
        assert (found["kind"], found["apiVersion"]) == ("Scale", "autoscaling/v1")
        assert found["spec"] == {"replicas": 3}
        assert found["status"]["selector"] == "app=web"

        found["spec"]["replicas"] = 1
        assert (await served.request("PUT", f"{DEPLOYMENTS}/web/scale", found)).code == 200
        stale = await served.request("PUT", f"{DEPLOYMENTS}/web/scale", found)
        assert stale.code == 409
        await until(lambda: len(runtime.pods) == 1, "one Pod")

    check(tmp_path, body)


@pytest.mark.parametrize("replicas", [-1, "two", 1.5])
def test_a_scale_that_is_no_number_is_refused(tmp_path: Path, replicas: Any):
    async def body(served: Api, _: FakeRuntime) -> None:
        await apply(served, deployment())
        answer = await served.request(
            "PATCH",
            f"{DEPLOYMENTS}/web/scale",
            {"spec": {"replicas": replicas}},
            Content_Type="application/merge-patch+json",
        )
        assert (answer.code, answer.json["reason"]) == (422, "Invalid")

    check(tmp_path, body)


def test_logs_are_read_and_followed(tmp_path: Path):
    async def body(served: Api, runtime: FakeRuntime) -> None:
        await apply(served, deployment())
        await until(lambda: runtime.pods, "a Pod")
        (key,) = runtime.pods
        runtime.say(key, "one\ntwo\n")
        assert await kubectl(served, "logs", key.name) == "one\ntwo\n"
        assert await kubectl(served, "logs", "deployment/web", "--tail=1") == "two\n"
        following = await served.kubectl_process("logs", "-f", key.name, "-n", "demo")
        assert following.stdout is not None
        assert await asyncio.wait_for(following.stdout.readline(), 20) == b"one\n"
        await kubectl(served, "delete", "deployment", "web")
        out, _ = await asyncio.wait_for(following.communicate(), 20)
        assert out == b"two\n"

    check(tmp_path, body)


def test_logs_of_what_is_not_there_say_what_is(tmp_path: Path):
    async def body(served: Api, runtime: FakeRuntime) -> None:
        await apply(served, deployment())
        await until(lambda: runtime.pods, "a Pod")
        (key,) = runtime.pods
        path = f"{PODS}/{key.name}/log"

        wrong = await served.request("GET", f"{path}?container=no")
        none = await served.request("GET", f"{PODS}/no/log")
        before = await served.request("GET", f"{path}?previous=true")
        odd = await served.request("GET", f"{path}?tailLines=x")
        warned = await served.request("GET", f"{path}?timestamps=true")

        assert (wrong.code, none.code, before.code, odd.code) == (400, 404, 400, 400)
        assert "container no is not valid" in wrong.json["message"]
        assert "choose one of app, istio-proxy" in wrong.json["message"]
        assert "no run before" in before.json["message"]
        assert "timestamps has no effect" in warned.warnings[0]

    check(tmp_path, body)


def test_a_deleted_pod_is_terminating_until_it_is_gone_and_replaced(tmp_path: Path):
    async def body(served: Api, runtime: FakeRuntime) -> None:
        await apply(served, deployment())
        await until(lambda: runtime.pods, "a Pod")
        (old,) = runtime.pods
        runtime.may_stop.clear()
        deleting = await served.kubectl_process("delete", "pod", old.name, "-n", "demo")
        await until(lambda: len(runtime.pods) == 2, "the next Pod")
        table = await kubectl(served, "get", "pods")
        (line,) = [one for one in table.splitlines() if one.startswith(old.name)]
        assert line.split()[1:4] == ["1/1", "Terminating", "0"]
        labelled = await kubectl(served, "label", "pod", old.name, "a=b")
        assert labelled == f"pod/{old.name} labeled\n"
        assert old.name in await names(served)
        runtime.may_stop.set()
        await asyncio.wait_for(deleting.communicate(), 20)

        (left,) = await names(served)
        assert left != old.name
        assert runtime.stops[0] == (old, 30.0)

    check(tmp_path, body)


def test_a_pod_is_deleted_at_once_by_force_and_with_the_grace_asked_for(tmp_path: Path):
    async def body(served: Api, runtime: FakeRuntime) -> None:
        await apply(served, pod())
        await until(lambda: runtime.pods, "the Pod")
        runtime.may_stop.clear()
        await kubectl(served, "delete", "pod", "alone", "--grace-period=9", "--wait=false")
        await until(lambda: runtime.stops, "its end")
        assert [grace for _, grace in runtime.stops] == [9.0]
        await kubectl(served, "delete", "pod", "alone", "--grace-period=0", "--force")

        assert await names(served) == []

    check(tmp_path, body)


def test_what_controllers_made_is_changed_in_their_name(tmp_path: Path):
    async def body(served: Api, runtime: FakeRuntime) -> None:
        await apply(served, deployment())
        await until(lambda: runtime.pods, "a Pod")
        (key,) = runtime.pods
        ran = await served.kubectl("annotate", "pod", key.name, "a=b", "-n", "demo")
        assert (ran.code, ran.err) == (0, "")
        assert served.store.conflicts(key) == ()
        (name,) = [one.key.name for one in served.store.records("ReplicaSet")]
        await kubectl(served, "delete", "replicaset", name)
        await until(lambda: runtime.pods and key not in runtime.pods, "another Pod")

    check(tmp_path, body)


def test_a_pod_of_a_file_is_deleted_there(tmp_path: Path):
    async def main() -> None:
        runtime, files = FakeRuntime(), Said("files")
        files.say(at(change(pod(), "files"), "files", "pod.yaml:1"))
        async with api(tmp_path, runtime=runtime, sources=[files]) as served:
            await until(lambda: runtime.pods, "the Pod")
            ran = await served.kubectl("delete", "pod", "alone", "-n", "demo")

            assert "delete it there" in ran.err
            assert len(runtime.pods) == 1

    asyncio.run(main())


def test_tables_say_how_pods_and_deployments_do(tmp_path: Path):
    async def body(served: Api, runtime: FakeRuntime) -> None:
        await apply(served, deployment())
        await kubectl(served, "rollout", "status", "deployment/web", "--timeout=20s")
        (key,) = runtime.pods
        runtime.crash(key)
        await until(lambda: _restarts(served) == 1, "a restart is seen")

        wide = (await kubectl(served, "get", "pods", "-o", "wide")).splitlines()
        head = (await kubectl(served, "get", "deployments", "-o", "wide")).splitlines()

        assert wide[0].split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
        assert wide[1].split()[1:4] == ["1/1", "Running", "1"]
        assert wide[1].split()[-3:-1] == ["10.244.0.3", "here"]
        assert head[0].split()[:7] == [
            *("NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"),
            *("CONTAINERS", "IMAGES"),
        ]
        assert head[1].split()[1:4] == ["1/1", "1", "1"]

    check(tmp_path, body)


def _restarts(served: Api) -> int:
    (record,) = served.store.records("Pod")
    states = (record.status or {}).get("containerStatuses") or [{}]
    return int(states[0].get("restartCount", 0))


def test_rollout_restart_and_undo_replace_the_pods(tmp_path: Path):
    async def body(served: Api, runtime: FakeRuntime) -> None:
        await apply(served, deployment())
        await until(lambda: runtime.pods, "a Pod")
        (first,) = runtime.pods
        await kubectl(served, "rollout", "restart", "deployment/web")
        await kubectl(served, "rollout", "status", "deployment/web", "--timeout=20s")
        await until(lambda: len(runtime.pods) == 1 and first not in runtime.pods, "another Pod")
        await kubectl(served, "rollout", "undo", "deployment/web")
        await kubectl(served, "rollout", "status", "deployment/web", "--timeout=20s")

        assert len(served.store.records("ReplicaSet")) == 2

    check(tmp_path, body)
