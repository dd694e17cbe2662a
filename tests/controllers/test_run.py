"""Deployments that run, from the store to the runtime and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

from plait.config.kinds.pod import Pod
from plait.config.meta import Object, Origin
from plait.config.ports import Change, PodFile
from plait.config.record import Record, Write, timestamp
from tests.support.runtime import FakeRuntime
from tests.support.stores import config_map
from tests.support.workloads import Land, deployment, key, land, pod, service


def check(body: Callable[[Land], Awaitable[None]]) -> None:
    async def main() -> None:
        async with land() as found:
            await body(found)

    asyncio.run(main())


def addresses(found: Land) -> list[tuple[str, bool]]:
    """Endpoints with whether they are ready."""
    return [
        (endpoint["addresses"][0], endpoint["conditions"]["ready"])
        for record in found.records("EndpointSlice")
        for endpoint in record.document["endpoints"]
    ]


def _runs(found: Land, replicas: int) -> bool:
    return len(found.runtime.pods) == replicas


async def mark(found: Land, record: Record, grace: int) -> None:
    """Delete a Pod as the API does."""
    metadata = {
        **record.document["metadata"],
        "deletionTimestamp": timestamp(grace),
        "deletionGracePeriodSeconds": grace,
    }
    assert record.object is not None
    change = Change(
        key=record.key,
        origin=Origin(source=record.source),
        object=structs.replace(record.object, deleted=float(grace)),
        document={**record.document, "metadata": metadata},
    )
    await found.store.commit([Write(key=record.key, change=change, source=record.source)])


def test_a_deployment_runs_its_pods_and_says_so():
    async def body(found: Land) -> None:
        await found.put(deployment(replicas=3))
        await found.rolled_out("web")

        (replica_set,) = found.records("ReplicaSet")
        word = replica_set.document["metadata"]["labels"]["pod-template-hash"]
        assert replica_set.key.name == f"web-{word}"
        assert len(found.live()) == 3
        for record in found.live():
            made: Object[Pod] | None = record.object
            assert made is not None
            assert made.key.name.startswith(f"web-{word}-")
            assert made.labels == {
                "app": "web",
                "version": "v1",
                "pod-template-hash": word,
                "security.istio.io/tlsMode": "istio",
                "service.istio.io/canonical-name": "web",
                "service.istio.io/canonical-revision": "v1",
            }
            assert [owner.key for owner in made.owners] == [replica_set.key]
            spec = made.spec.spec
            assert (spec.restart_policy, spec.node_name) == ("Always", "here")
            assert spec.termination_grace_period_seconds == 30
            assert record.status is not None
            assert record.status["phase"] == "Running"
        await found.until(lambda: found.status("ReplicaSet", f"web-{word}").get("readyReplicas"))
        assert found.condition("web", "Available") == ("True", "MinimumReplicasAvailable")
        assert found.condition("web", "Progressing") == ("True", "NewReplicaSetAvailable")

    check(body)


def test_more_and_fewer_replicas_are_obeyed():
    async def body(found: Land) -> None:
        for replicas in (2, 5, 1, 0):
            await found.put(deployment(replicas=replicas))
            await found.rolled_out("web")
            await found.until(partial(_runs, found, replicas))
            assert len(found.names("ReplicaSet")) == 1

    check(body)


def test_the_same_template_is_the_same_replica_set_and_a_new_one_takes_over():
    async def body(found: Land) -> None:
        await found.put(deployment(replicas=2))
        await found.rolled_out("web")
        (first,) = found.names("ReplicaSet")
        await found.put(deployment(replicas=2, image="i:2"))
        await found.rolled_out("web")
        images = {one.spec.spec.containers[0].image for one in found.runtime.pods.values()}
        assert len(found.names("ReplicaSet")) == 2
        await found.put(deployment(replicas=2))
        await found.rolled_out("web")

        assert "i:2" in images
        assert len(found.names("ReplicaSet")) == 2
        (current,) = [r for r in found.records("ReplicaSet") if r.document["spec"]["replicas"]]
        assert current.key.name == first
        annotations = current.document["metadata"]["annotations"]
        assert annotations["deployment.kubernetes.io/revision"] == "3"

    check(body)


def test_old_pods_stay_until_new_ones_are_ready():
    async def body(found: Land) -> None:
        await found.put(deployment(replicas=2))
        await found.rolled_out("web")
        old = set(found.runtime.pods)
        found.runtime.is_ready = lambda one: one.key in old
        await found.put(deployment(replicas=2, image="i:2"))
        await found.until(lambda: len(found.runtime.pods) == 3)
        assert old <= set(found.runtime.pods)
        assert not found.is_rolled_out("web")

        found.runtime.is_ready = lambda _: True
        found.runtime.turn(found.runtime.pods, ready=True)
        await found.rolled_out("web")
        await found.until(lambda: len(found.runtime.pods) == 2)
        assert not old & set(found.runtime.pods)

    check(body)


def test_recreate_ends_the_old_before_the_new_begin():
    async def body(found: Land) -> None:
        strategy = {"type": "Recreate"}
        await found.put(deployment(replicas=2, strategy=strategy))
        await found.rolled_out("web")
        old = set(found.runtime.pods)
        found.runtime.may_stop.clear()
        await found.put(deployment(replicas=2, strategy=strategy, image="i:2"))
        await found.until(lambda: len(found.runtime.stops) == 2)
        assert set(found.runtime.pods) == old

        found.runtime.may_stop.set()
        await found.rolled_out("web")
        assert not old & set(found.runtime.pods)

    check(body)


def test_a_deployment_that_goes_takes_all_along():
    async def body(found: Land) -> None:
        await found.put(deployment(replicas=2))
        await found.put(service())
        await found.rolled_out("web")
        await found.until(lambda: len(addresses(found)) == 2)
        await found.delete(deployment())
        await found.until(lambda: not found.names("ReplicaSet") + found.names("Pod"))
        await found.delete(service())
        await found.until(lambda: not found.names("EndpointSlice"))

        assert found.runtime.pods == {}

    check(body)


def test_a_deleted_pod_is_replaced_by_one_of_another_name():
    async def body(found: Land) -> None:
        await found.put(deployment(pod={"terminationGracePeriodSeconds": 7}))
        await found.rolled_out("web")
        (old,) = found.live()
        found.runtime.may_stop.clear()
        await mark(found, old, 7)
        await found.until(lambda: len(found.runtime.pods) == 2)
        (new,) = found.live()
        assert found.runtime.stops == [(old.key, 7.0)]
        assert old.key.name in found.names("Pod")

        found.runtime.may_stop.set()
        await found.until(lambda: found.names("Pod") == [new.key.name])
        assert new.key.name != old.key.name

    check(body)


def test_less_grace_hastens_an_end():
    async def body(found: Land) -> None:
        await found.put(deployment())
        await found.rolled_out("web")
        (old,) = found.live()
        found.runtime.may_stop.clear()
        await mark(found, old, 30)
        await found.until(lambda: found.runtime.stops)
        current = found.store.record(old.key)
        assert current is not None
        await mark(found, current, 0)
        await found.until(lambda: old.key.name not in found.names("Pod"))

        assert found.runtime.stops[:2] == [(old.key, 30.0), (old.key, 0.0)]

    check(body)


def test_a_service_has_the_endpoints_of_its_pods():
    async def body(found: Land) -> None:
        await found.put(deployment(replicas=2))
        await found.put(service())
        await found.rolled_out("web")
        await found.until(lambda: [ready for _, ready in addresses(found)] == [True, True])
        (slice_,) = found.records("EndpointSlice")
        before = slice_.revision
        assert slice_.document["addressType"] == "IPv4"
        assert slice_.document["ports"] == [{"name": "http", "port": 8080}]
        target = slice_.document["endpoints"][0]["targetRef"]
        assert target["name"] in found.names("Pod")

        first = found.live()[0]
        found.runtime.crash(first.key)
        status = lambda: found.status("Pod", first.key.name)  # noqa: E731
        await found.until(lambda: status()["containerStatuses"][0]["restartCount"] == 1)
        assert found.records("EndpointSlice")[0].revision == before
        found.runtime.turn([first.key], ready=False)
        await found.until(lambda: [r for _, r in addresses(found)].count(True) == 1)
        found.runtime.turn([first.key], ready=True)
        await found.until(lambda: [r for _, r in addresses(found)].count(True) == 2)
        assert len(found.records("EndpointSlice")) == 1

    check(body)


def test_a_pod_that_ends_leaves_the_endpoints_at_once():
    async def body(found: Land) -> None:
        await found.put(deployment())
        await found.put(service())
        await found.until(lambda: addresses(found) and addresses(found)[0][1])
        found.runtime.may_stop.clear()
        found.runtime.is_ready = lambda _: False
        await mark(found, found.live()[0], 30)
        await found.until(lambda: not any(ready for _, ready in addresses(found)))

        conditions = [
            endpoint["conditions"]
            for endpoint in found.records("EndpointSlice")[0].document["endpoints"]
        ]
        assert {"ready": False, "serving": True, "terminating": True} in conditions

    check(body)


def test_a_pod_of_its_own_runs_and_ends():
    async def body(found: Land) -> None:
        await found.put(pod())
        await found.until(lambda: found.status("Pod", "alone").get("phase") == "Running")
        await found.delete(pod())
        await found.until(lambda: not found.runtime.pods)

    check(body)


def test_a_pod_that_was_rewritten_is_started_anew():
    async def body(found: Land) -> None:
        await found.put(pod())
        await found.until(lambda: found.runtime.pods)
        await found.put(pod(containers=[{"name": "app", "image": "i:2"}]))
        await found.until(lambda: [(key("Pod", "alone"), 30.0)] == found.runtime.stops)
        await found.until(lambda: found.runtime.pods)

        (one,) = found.runtime.pods.values()
        assert one.spec.spec.containers[0].image == "i:2"

    check(body)


def test_a_pod_waits_for_its_config_map_and_takes_what_changes():
    async def body(found: Land) -> None:
        env = [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "value"}}},
        ]
        volumes = [{"name": "v", "configMap": {"name": "x"}}]
        await found.put(deployment(container={"env": env}, pod={"volumes": volumes}))
        await found.until(lambda: found.status("Pod", found.names("Pod")[0]) if found.live() else 0)
        (one,) = found.live()

        def waiting() -> Any:
            states = found.status("Pod", one.key.name).get("containerStatuses", [{}])
            return states[0].get("state", {}).get("waiting")

        await found.until(waiting)
        assert waiting()["reason"] == "CreateContainerConfigError"
        assert 'configmap "x" not found' in waiting()["message"]

        await found.put(config_map("x", "1"))
        await found.rolled_out("web")
        assert found.runtime.files[one.key].env == {"app": {"A": "1"}}
        await found.put(config_map("x", "2"))
        volumes_of = lambda: found.runtime.files[one.key].volumes  # noqa: E731
        await found.until(lambda: volumes_of() == {"v": {"value": PodFile(b"2")}})
        assert list(found.runtime.pods) == [one.key]

    check(body)


def test_what_cannot_be_followed_says_why_and_others_go_on():
    async def body(found: Land) -> None:
        await found.put(deployment("odd", selector={"matchLabels": {"app": "other"}}))
        await found.put(deployment("empty", template={"metadata": {"labels": {"app": "empty"}}}))
        await found.put(pod("hollow", containers=[]))
        await found.put(deployment("web"))
        await found.rolled_out("web")
        await found.until(lambda: found.condition("empty", "ReplicaFailure")[0])
        await found.until(lambda: found.status("Pod", "hollow"))

        assert found.condition("odd", "ReplicaFailure") == ("True", "InvalidSpec")
        messages = {
            name: found.status("Deployment", name)["conditions"][-1]["message"]
            for name in ("odd", "empty")
        }
        assert "does not match the template" in messages["odd"]
        assert "no container" in messages["empty"]
        assert "no container" in found.status("Pod", "hollow")["message"]
        await found.put(deployment("odd"))
        await found.rolled_out("odd")
        assert found.condition("odd", "ReplicaFailure") == ("", "")

    check(body)


def test_the_gateway_that_istio_has_comes_and_goes_with_who_asks_for_it():
    gateway = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "g", "namespace": "demo"},
        "spec": {
            "selector": {"istio": "ingressgateway"},
            "servers": [
                {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
            ],
        },
    }

    async def body(found: Land) -> None:
        await found.put(gateway)
        await found.until(lambda: found.runtime.pods)
        (one,) = found.runtime.pods.values()
        assert one.key.namespace == "istio-system"
        assert one.labels["istio"] == "ingressgateway"
        assert [c.image for c in one.spec.spec.containers] == ["auto"]
        own = deployment("own")
        own["spec"]["selector"] = {"matchLabels": {"istio": "ingressgateway"}}
        own["spec"]["template"]["metadata"]["labels"] = {"istio": "ingressgateway"}
        await found.put(own)
        await found.until(lambda: found.names("Deployment") == ["own"])
        await found.delete(own)
        await found.until(lambda: "istio-ingressgateway" in found.names("Deployment"))
        await found.delete(gateway)
        await found.until(lambda: not found.names("Deployment") + found.names("Pod"))

    check(body)


def test_nothing_is_written_or_stopped_when_controllers_start_again(tmp_path: Path):
    async def main() -> None:
        runtime = FakeRuntime()
        async with land(tmp_path, runtime) as found:
            await found.put(deployment(replicas=2))
            await found.put(service())
            await found.rolled_out("web")
            await found.until(lambda: [ready for _, ready in addresses(found)] == [True, True])
            names = found.names("ReplicaSet")
            await found.until(lambda: found.status("ReplicaSet", names[0]).get("availableReplicas"))
            before = found.store.revision
        async with land(tmp_path, runtime) as found:
            await found.put(deployment("other"))
            await found.rolled_out("other")
            changed = [r for r in found.records("Pod", app="web") if r.revision > before]
            changed += [r for r in found.records("EndpointSlice") if r.revision > before]

        assert changed == []
        assert runtime.stops == []

    asyncio.run(main())


def test_pods_that_nobody_wants_any_more_are_stopped_at_the_start(tmp_path: Path):
    async def main() -> None:
        runtime = FakeRuntime()
        async with land(tmp_path / "one", runtime) as found:
            await found.put(deployment())
            await found.rolled_out("web")
        async with land(tmp_path / "two", runtime) as found:
            await found.until(lambda: not runtime.pods)

    asyncio.run(main())


def test_a_thousand_pods_run():
    async def body(found: Land) -> None:
        await found.put(service())
        await found.put(deployment(replicas=1000))
        await found.rolled_out("web")
        await found.until(lambda: len(addresses(found)) == 1000)

    check(body)
