import asyncio
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from plait.config.allocation import SERVICES, Allocation
from plait.config.kinds.core import Service
from plait.config.record import Record
from plait.config.restore import Kinds
from plait.config.store import Store
from tests.support.stores import Said, config_map, delete, key, put, running


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": {"ports": [{"port": 80}], **spec},
    }


def pod(**status: Any) -> dict[str, Any]:
    written = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "demo"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    return {**written, "status": status} if status else written


def kinds() -> Kinds:
    return Kinds.known(Allocation())


def address(found: Record | None) -> str:
    """Of a Service: the same in the row and in the document."""
    assert found is not None
    assert found.object is not None
    spec: Service = found.object.spec
    assert found.document["spec"].get("clusterIP", "") == spec.cluster_ip
    return spec.cluster_ip


def test_a_service_gets_an_address_that_it_keeps(tmp_path: Path):
    async def main():
        async with running(tmp_path, kinds=kinds()) as store:
            first = address(await put(store, service("a")))
            edited = await put(store, service("a", selector={"app": "a"}))
        async with running(tmp_path, kinds=kinds()) as store:
            restarted = store.record(key(service("a")))
            again = await put(store, service("a", selector={"app": "b"}))

        assert ip_address(first) in SERVICES
        assert [address(one) for one in (edited, restarted, again)] == [first] * 3
        assert edited.generation == 2

    asyncio.run(main())


def test_an_address_does_not_depend_on_the_order_of_services():
    async def main():
        found = []
        for names in ("ab", "ba"):
            async with running(kinds=kinds()) as store:
                found.append({name: address(await put(store, service(name))) for name in names})

        assert found[0] == found[1]

    asyncio.run(main())


def test_services_written_together_get_addresses_of_their_own(tmp_path: Path):
    async def main():
        files = Said()
        async with running(tmp_path, files, kinds=kinds()) as store:
            await files.say(*(service(f"s{n}") for n in range(2000)), complete=True)
            found = {address(one) for one in store.records("Service")}

        assert len(found) == 2000

    asyncio.run(main())


def test_a_resync_of_a_service_without_address_changes_nothing():
    async def main():
        files = Said()
        async with running(None, files, kinds=kinds()) as store:
            await files.say(service("a"), complete=True)
            before = store.revision
            await files.say(service("a"), complete=True)

            assert store.revision == before

    asyncio.run(main())


def test_headless_and_external_services_are_left_alone():
    async def main():
        async with running(kinds=kinds()) as store:
            headless = await put(store, service("a", clusterIP="None"))
            external = await put(store, service("b", type="ExternalName", externalName="x.example"))

        assert (address(headless), address(external)) == ("None", "")

    asyncio.run(main())


def test_an_address_that_is_taken_is_reported_and_not_handed_out_again():
    async def main():
        async with running(kinds=kinds()) as store:
            auto = address(await put(store, service("a")))
            rival = await put(store, service("b", clusterIP=auto))
            await store.commit([delete(service("a"))])
            back = await put(store, service("a"))

        assert [problem.code for problem in rival.problems] == ["PLT3006"]
        assert "Service demo/a" in rival.problems[0].message
        assert address(back) != auto

    asyncio.run(main())


def test_a_deployment_without_a_number_of_replicas_has_one():
    async def main():
        async with running(kinds=kinds()) as store:
            document: dict[str, Any] = {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "d", "namespace": "demo"},
                "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": {}},
            }
            none = await put(store, {**document, "spec": {**document["spec"], "replicas": 0}})
            one = await put(store, {**document, "metadata": {"name": "e", "namespace": "demo"}})

        assert none.document["spec"]["replicas"] == 0
        assert one.document["spec"]["replicas"] == 1

    asyncio.run(main())


def test_a_pod_with_a_sidecar_says_that_it_takes_mutual_tls():
    async def main():
        def labelled(name: str, **labels: str) -> dict[str, Any]:
            return {**pod(), "metadata": {"name": name, "namespace": "demo", "labels": labels}}

        mode = "security.istio.io/tlsMode"
        refused = {"sidecar.istio.io/inject": "false"}
        async with running(kinds=kinds()) as store:
            written = [
                await put(store, labelled("a", app="a")),
                await put(store, labelled("b", **refused)),
                await put(store, labelled("c", **{mode: "disabled"})),
            ]

        found = [record.document["metadata"].get("labels") for record in written]
        assert found == [{"app": "a", mode: "istio"}, refused, {mode: "disabled"}]
        assert [dict(record.object.labels) for record in written if record.object] == found

    asyncio.run(main())


def test_nothing_is_filled_in_where_nobody_allocates():
    async def main():
        async with running() as store:
            assert address(await put(store, service("a"))) == ""
            await put(store, config_map("x"))

    asyncio.run(main())


def test_the_row_of_a_pod_has_the_state_of_its_document_whoever_writes_it(tmp_path: Path):
    def state(store: Store) -> str:
        found = store.record(key(pod()))
        assert found is not None
        assert found.object is not None
        status = found.object.spec.status
        return status.phase if status else ""

    async def main():
        files = Said()
        async with running(tmp_path, files) as store:
            await files.say(pod(), complete=True)
            await put(store, pod(phase="Running"))
            seen = [state(store)]
            await files.say(pod(), complete=True)
            seen.append(state(store))
        async with running(tmp_path) as store:
            seen.append(state(store))

        assert seen == ["Running"] * 3

    asyncio.run(main())
