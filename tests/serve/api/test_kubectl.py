"""An unmodified kubectl, as users have it, against the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml

from plait.config.ports import Condition
from plait.serve.api.pages import NoPages
from tests.support.api_server import PATIENCE, Api, Ran, api

ROUTE = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
  namespace: default
spec:
  hosts:
  - reviews
  http:
  - route:
    - destination:
        host: reviews
        subset: v1
"""

SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: reviews
spec:
  selector:
    app: reviews
  ports:
  - name: http
    port: 9080
"""


def run(home: Path, story: Callable[[Api], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with api(home, **options) as server:
            await story(server)

    asyncio.run(main())


async def done(server: Api, *args: str, stdin: str = "") -> str:
    """What a command that must succeed prints."""
    ran = await server.kubectl(*args, stdin=stdin)
    assert ran.code == 0, ran.err
    return ran.out


async def refused(server: Api, *args: str, stdin: str = "") -> Ran:
    ran = await server.kubectl(*args, stdin=stdin)
    assert ran.code != 0, ran.out
    return ran


def test_apply_creates_configures_and_leaves_alone(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        first = await done(server, "apply", "-f", "-", stdin=ROUTE)
        again = await done(server, "apply", "-f", "-", stdin=ROUTE)
        other = await done(server, "apply", "-f", "-", stdin=ROUTE.replace("v1\n", "v1\n", 1))
        changed = await done(
            server, "apply", "-f", "-", stdin=ROUTE.replace("subset: v1", "subset: v2")
        )
        subset = await done(
            server,
            "get",
            "vs",
            "reviews",
            "-o",
            "jsonpath={.spec.http[0].route[0].destination.subset}",
        )

        name = "virtualservice.networking.istio.io/reviews"
        assert first == f"{name} created\n"
        assert again == other == f"{name} unchanged\n"
        assert changed == f"{name} configured\n"
        assert subset == "v2"

    run(tmp_path, story)


def listed(*documents: str) -> str:
    items = [yaml.safe_load(document) for document in documents]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def test_a_list_is_written_and_deleted_as_its_items_are(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        both = listed(ROUTE, SERVICE)
        first = await done(server, "apply", "-f", "-", stdin=both)
        again = await done(server, "apply", "-f", "-", stdin=both)
        by_server = await done(server, "apply", "--server-side", "-f", "-", stdin=both)
        replaced = await done(server, "replace", "-f", "-", stdin=both)
        gone = await done(server, "delete", "-f", "-", stdin=both)
        made = await done(server, "create", "-f", "-", stdin=both)

        route, service = "virtualservice.networking.istio.io/reviews", "service/reviews"
        assert first.splitlines() == [f"{route} created", f"{service} created"]
        assert again.splitlines() == [f"{route} unchanged", f"{service} unchanged"]
        assert len(by_server.splitlines()) == len(replaced.splitlines()) == 2
        assert len(gone.splitlines()) == 2
        assert made.splitlines() == [f"{route} created", f"{service} created"]

    run(tmp_path, story)


def test_unknown_fields_in_a_list_are_refused_by_the_server(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        wrong = listed(SERVICE, ROUTE.replace("  hosts:", "  hostz: [x]\n  hosts:"))
        strict = await refused(server, "apply", "-f", "-", stdin=wrong)
        warned = await server.kubectl("apply", "--validate=warn", "-f", "-", stdin=wrong)

        assert 'unknown field "spec.hostz"' in strict.err
        assert warned.code == 0
        assert 'Warning: unknown field "spec.hostz"' in warned.err

    run(tmp_path, story)


def test_services_are_applied_by_strategic_patches(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await done(server, "apply", "-f", "-", stdin=SERVICE)
        more = SERVICE + "  - name: grpc\n    port: 9090\n"
        changed = await done(server, "apply", "-f", "-", stdin=more)
        less = await done(server, "apply", "-f", "-", stdin=SERVICE)
        ports = await done(server, "get", "svc", "reviews", "-o", "jsonpath={.spec.ports[*].port}")

        assert changed == "service/reviews configured\n"
        assert less == "service/reviews configured\n"
        assert ports == "9080"

    run(tmp_path, story)


def test_tables_have_the_columns_that_users_know(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await done(server, "apply", "-f", "-", stdin=f"{ROUTE}---\n{SERVICE}")
        routes = (await done(server, "get", "vs")).splitlines()
        everywhere = (await done(server, "get", "virtualservices", "-A")).splitlines()
        wide = (await done(server, "get", "vs", "-o", "wide")).splitlines()
        services = (await done(server, "get", "svc")).splitlines()
        names = await done(server, "get", "svc,vs", "-o", "name")

        assert routes[0].split() == ["NAME", "GATEWAYS", "HOSTS", "AGE"]
        assert routes[1].split()[:2] == ["reviews", '["reviews"]']
        assert everywhere[0].split()[0] == "NAMESPACE"
        assert "ACCEPTED" in wide[0]
        assert "IN FORCE" in wide[0]
        assert services[0].split() == [
            "NAME",
            "TYPE",
            "CLUSTER-IP",
            "EXTERNAL-IP",
            "PORT(S)",
            "AGE",
        ]
        assert services[1].split()[:5] == ["reviews", "ClusterIP", "<none>", "<none>", "9080/TCP"]
        assert names == "service/reviews\nvirtualservice.networking.istio.io/reviews\n"

    run(tmp_path, story)


def test_get_reads_yaml_json_and_labels(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await done(server, "create", "configmap", "c", "--from-literal=x=1")
        await done(server, "label", "configmap", "c", "team=a")
        await done(server, "annotate", "configmap", "c", "note=b")
        found = json.loads(await done(server, "get", "cm", "-l", "team=a", "-o", "json"))
        none = await server.kubectl("get", "cm", "-l", "team=b")
        text = await done(server, "get", "cm", "c", "-o", "yaml")
        missing = await refused(server, "get", "cm", "d")

        assert found["items"][0]["data"] == {"x": "1"}
        assert found["items"][0]["metadata"]["annotations"] == {"note": "b"}
        assert "No resources found" in none.err
        assert text.startswith('apiVersion: v1\ndata:\n  x: "1"\nkind: ConfigMap\n')
        assert missing.err == 'Error from server (NotFound): configmaps "d" not found\n'

    run(tmp_path, story)


def test_get_watch_prints_what_changes(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await done(server, "create", "configmap", "a")
        process = await server.kubectl_process("get", "cm", "-w", "--no-headers")
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            first = await process.stdout.readline()
            await done(server, "create", "configmap", "b", "--from-literal=x=1")
            second = await process.stdout.readline()
            await done(server, "delete", "configmap", "b")
            third = await process.stdout.readline()
        process.terminate()
        await process.communicate()

        assert first.split()[:2] == [b"a", b"0"]
        assert second.split()[:2] == [b"b", b"1"]
        assert third.split()[:2] == [b"b", b"1"]

    run(tmp_path, story)


def test_server_side_apply_keeps_owners_and_reports_conflicts(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        apply = ("apply", "--server-side", "-f", "-", "--field-manager")
        first = await done(server, *apply, "ann", stdin=ROUTE)
        other = ROUTE.replace("  - reviews\n", "  - ratings\n")
        conflict = await refused(server, *apply, "ben", stdin=other)
        await done(server, *apply, "ben", "--force-conflicts", stdin=other)
        found = json.loads(
            await done(server, "get", "vs", "reviews", "-o", "json", "--show-managed-fields")
        )
        owners = {entry["manager"]: entry for entry in found["metadata"]["managedFields"]}

        assert first == "virtualservice.networking.istio.io/reviews serverside-applied\n"
        assert 'Apply failed with 1 conflict: conflict with "ann": .spec.hosts' in conflict.err
        assert found["spec"]["hosts"] == ["ratings"]
        assert owners["ann"]["fieldsV1"] == {"f:spec": {"f:http": {}}}
        assert owners["ben"]["fieldsV1"] == {"f:spec": {"f:hosts": {}, "f:http": {}}}

    run(tmp_path, story)


def test_client_side_apply_moves_on_to_server_side(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await done(server, "apply", "-f", "-", stdin=ROUTE)
        changed = ROUTE.replace("subset: v1", "subset: v2")
        moved = await done(server, "apply", "--server-side", "-f", "-", stdin=changed)

        assert moved == "virtualservice.networking.istio.io/reviews serverside-applied\n"

    run(tmp_path, story)


def test_diff_shows_what_an_apply_would_change_and_changes_nothing(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await done(server, "apply", "-f", "-", stdin=ROUTE)
        before = server.store.revision
        same = await server.kubectl("diff", "-f", "-", stdin=ROUTE)
        other = await server.kubectl("diff", "-f", "-", stdin=ROUTE.replace("v1\n", "v2\n", 2))
        changed = ROUTE.replace("subset: v1", "subset: v2")
        different = await server.kubectl("diff", "-f", "-", stdin=changed)
        dry = await done(server, "apply", "--dry-run=server", "-f", "-", stdin=changed)

        assert (same.code, same.out) == (0, "")
        assert other.code != 0
        assert different.code == 1
        assert "-        subset: v1" in different.out
        assert "+        subset: v2" in different.out
        assert dry.endswith("configured (server dry run)\n")
        assert server.store.revision == before

    run(tmp_path, story)


def test_unknown_fields_are_refused_by_the_server(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        wrong = ROUTE.replace("  hosts:", "  hostz: [x]\n  hosts:")
        strict = await refused(server, "apply", "-f", "-", stdin=wrong)
        warned = await server.kubectl("apply", "--validate=warn", "-f", "-", stdin=wrong)

        assert 'unknown field "spec.hostz"' in strict.err
        assert warned.code == 0
        assert 'Warning: unknown field "spec.hostz"' in warned.err

    run(tmp_path, story)


def test_an_object_that_is_not_valid_is_refused_with_its_fields(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        wrong = ROUTE.replace("subset: v1", "subset: v1\n      weight: many")
        ran = await refused(server, "apply", "-f", "-", stdin=wrong)

        assert "spec.http[0].route[0].weight" in ran.err
        assert server.store.records("VirtualService") == ()

    run(tmp_path, story)


def test_replace_patch_edit_and_delete_work(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await done(server, "create", "-f", "-", stdin=ROUTE)
        replaced = await done(
            server, "replace", "-f", "-", stdin=ROUTE.replace("subset: v1", "subset: v2")
        )
        merge = await done(
            server, "patch", "vs", "reviews", "--type=merge", "-p", '{"spec":{"hosts":["a"]}}'
        )
        operation = '[{"op":"add","path":"/spec/hosts/-","value":"b"}]'
        patched = await done(server, "patch", "vs", "reviews", "--type=json", "-p", operation)
        hosts = await done(server, "get", "vs", "reviews", "-o", "jsonpath={.spec.hosts}")
        gone = await done(server, "delete", "vs", "reviews")
        again = await refused(server, "delete", "vs", "reviews")

        assert replaced.endswith("replaced\n")
        assert merge.endswith("patched\n")
        assert patched.endswith("patched\n")
        assert hosts == '["a","b"]'
        assert gone.startswith('virtualservice.networking.istio.io "reviews" deleted')
        assert "NotFound" in again.err

    run(tmp_path, story)


def test_edit_saves_what_the_editor_wrote(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await done(server, "apply", "-f", "-", stdin=ROUTE)
        editor = tmp_path / "editor"
        editor.write_text("#!/bin/sh\nsed -i 's/subset: v1/subset: v9/' \"$1\"\n")
        editor.chmod(0o755)
        server.environment["KUBE_EDITOR"] = str(editor)
        edited = await done(server, "edit", "vs", "reviews")

        assert edited.endswith("edited\n")

    run(tmp_path, story)


def test_wait_sees_conditions(tmp_path: Path) -> None:
    class Accepting(NoPages):
        def conditions(self, key: Any) -> tuple[Condition, ...]:
            del key
            return (Condition(type="Accepted", status="True", reason="Valid", message="fine"),)

    async def story(server: Api) -> None:
        await done(server, "apply", "-f", "-", stdin=ROUTE)
        met = await done(server, "wait", "vs/reviews", "--for=condition=Accepted", "--timeout=10s")

        assert met.endswith("condition met\n")

    run(tmp_path, story, pages=Accepting())


def test_explain_knows_the_fields_of_a_kind(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        top = await done(server, "explain", "virtualservice")
        http = await done(server, "explain", "virtualservice.spec.http")
        service = await done(server, "explain", "service.spec.ports.port")

        assert "KIND:       VirtualService" in top
        assert "VERSION:    v1" in top
        assert "<[]Object>" in http
        assert "timeout" in http
        assert "<string>" in http
        assert "<integer>" in service

    run(tmp_path, story)


def test_namespaces_are_listed_created_and_deleted_with_what_is_in_them(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        made = await done(server, "create", "namespace", "demo")
        await done(server, "create", "configmap", "c", "-n", "demo")
        listed = await done(server, "get", "ns", "-o", "name")
        gone = await done(server, "delete", "namespace", "demo")
        after = await done(server, "get", "ns", "-o", "name")

        assert made == "namespace/demo created\n"
        assert listed.split() == [
            "namespace/default",
            "namespace/demo",
            "namespace/istio-system",
        ]
        assert gone.startswith('namespace "demo" deleted')
        assert "demo" not in after

    run(tmp_path, story)


def test_discovery_lists_kinds_with_their_short_names(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        kinds = await done(server, "api-resources")
        versions = await done(server, "api-versions")
        version = await done(server, "version", "-o", "json")

        line = next(text for text in kinds.splitlines() if text.startswith("virtualservices"))
        assert line.split() == [
            "virtualservices",
            "vs",
            "networking.istio.io/v1",
            "true",
            "VirtualService",
        ]
        assert "networking.istio.io/v1beta1" in versions
        assert json.loads(version)["serverVersion"]["major"] == "1"

    run(tmp_path, story)


def test_delete_all_of_a_kind(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await done(server, "create", "configmap", "a")
        await done(server, "create", "configmap", "b")
        await done(server, "delete", "cm", "--all")

        assert server.store.records("ConfigMap") == ()

    run(tmp_path, story)


def test_create_commands_that_send_protobuf_work(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await done(server, "create", "serviceaccount", "s")
        await done(server, "create", "service", "clusterip", "web", "--tcp=80:8080")
        await done(
            server, "create", "deployment", "web", "--image=web:1", "--replicas=0", "--port=80"
        )
        port = await done(server, "get", "svc", "web", "-o", "jsonpath={.spec.ports[0]}")
        spec = json.loads(await done(server, "get", "deploy", "web", "-o", "jsonpath={.spec}"))

        assert json.loads(port) == {
            "name": "80-8080",
            "protocol": "TCP",
            "port": 80,
            "targetPort": 8080,
        }
        assert spec["replicas"] == 0
        assert spec["selector"] == {"matchLabels": {"app": "web"}}
        assert spec["template"]["spec"]["containers"] == [
            {"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}
        ]

    run(tmp_path, story)
