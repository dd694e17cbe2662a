"""Controllers at work upon a store and a runtime that runs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from plait.base.clock import WallClock
from plait.config.allocation import Allocation
from plait.config.meta import Key
from plait.config.record import Record
from plait.config.restore import Kinds
from plait.config.store import Store
from plait.controllers.run import Workloads
from tests.support.runtime import FakeRuntime
from tests.support.stores import delete, put

PATIENCE = 20.0
IMAGE = "docker.io/demo/app:1"


class Land:
    """A store whose Deployments run."""

    def __init__(self, store: Store, runtime: FakeRuntime) -> None:
        self.store = store
        self.runtime = runtime

    async def put(self, document: dict[str, Any], source: str = "api") -> Record:
        return await put(self.store, document, source)

    async def delete(self, document: dict[str, Any], source: str = "api") -> None:
        await self.store.commit([delete(document, source)])

    def records(self, table: str, **labels: str) -> list[Record]:
        return [
            record
            for record in self.store.records(table)
            if labels.items() <= (record.document["metadata"].get("labels") or {}).items()
        ]

    def names(self, table: str) -> list[str]:
        return [record.key.name for record in self.store.records(table)]

    def status(self, kind: str, name: str) -> Mapping[str, Any]:
        """As an API shows it; empty: there is none."""
        found = next((r for r in self.store.records(kind) if r.key.name == name), None)
        return (found.status if found else None) or {}

    def condition(self, name: str, kind: str) -> tuple[str, str]:
        """Status and reason of a Deployment's condition."""
        for one in self.status("Deployment", name).get("conditions", ()):
            if one["type"] == kind:
                return one["status"], one["reason"]
        return "", ""

    def live(self, **labels: str) -> list[Record]:
        """The Pods that are not being deleted."""
        found = self.records("Pod", **labels)
        return [r for r in found if "deletionTimestamp" not in r.document["metadata"]]

    def is_rolled_out(self, name: str) -> bool:
        """What ``kubectl rollout status`` waits for."""
        record = next(r for r in self.store.records("Deployment") if r.key.name == name)
        status, wanted = record.status or {}, record.document["spec"]["replicas"]
        return bool(
            status.get("observedGeneration", 0) >= record.generation
            and status.get("updatedReplicas", 0) == wanted
            and status.get("replicas", 0) == wanted
            and status.get("availableReplicas", 0) == wanted
        )

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait until something holds after a commit."""
        async with asyncio.timeout(PATIENCE):
            while not is_so():  # noqa: ASYNC110 - what is waited for is no event
                await asyncio.sleep(0.005)

    async def rolled_out(self, name: str) -> None:
        await self.until(lambda: self.is_rolled_out(name))


@asynccontextmanager
async def land(path: Path | None = None, runtime: FakeRuntime | None = None) -> AsyncIterator[Land]:
    """A store with controllers; errors of the test come out as they are."""
    store = await Store.open(path, WallClock(), kinds=Kinds.known(Allocation()))
    runtime = runtime or FakeRuntime()
    failed: BaseException | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(store.run()),
            group.create_task(Workloads(store, runtime, node="here").run()),
        ]
        try:
            async with asyncio.timeout(PATIENCE):
                yield Land(store, runtime)
        except BaseException as error:  # noqa: BLE001 - raised again outside the group
            failed = error
        for task in tasks:
            task.cancel()
    await store.close()
    if failed is not None:
        raise failed


def deployment(name: str = "web", image: str = IMAGE, **spec: Any) -> dict[str, Any]:
    """A Deployment of one container with a named port; `pod` adds to the Pods' specification."""
    labels = {"app": name, "version": "v1"}
    pod = spec.pop("pod", {})
    container = {
        "name": "app",
        "image": image,
        "ports": [{"name": "web", "containerPort": 8080}],
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], **pod},
            },
            **spec,
        },
    }


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": {
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": "web"}],
            **spec,
        },
    }


def pod(name: str = "alone", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "demo", "labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": IMAGE}], **spec},
    }


def key(kind: str, name: str, group: str = "", namespace: str = "demo") -> Key:
    return Key(group=group, kind=kind, namespace=namespace, name=name)
