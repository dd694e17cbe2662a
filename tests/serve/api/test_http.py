"""The API as raw HTTP: verbs, errors, lists, watches, namespaces, several sources."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from plait.base.errors import StoreFullError
from plait.config import codec
from plait.config.meta import Key
from plait.config.ports import Change, Condition
from plait.serve.api import paths
from plait.serve.api.pages import NoPages
from plait.serve.api.writes import refused
from tests.support.api_server import Api, Said, api, at, key, until

VIRTUAL_SERVICES = "/apis/networking.istio.io/v1/namespaces/default/virtualservices"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


def virtual_service(name: str = "reviews", subset: str = "v1", **metadata: Any) -> dict[str, Any]:
    to = {"destination": {"host": "reviews", "subset": subset}}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, **metadata},
        "spec": {"hosts": ["reviews"], "http": [{"route": [to]}]},
    }


def config_map(name: str = "c", labels: dict[str, str] | None = None, **data: str) -> Any:
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def run(home: Path, story: Callable[[Api], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with api(home, **options) as server:
            await story(server)

    asyncio.run(main())


def read(document: dict[str, Any], source: str, locator: str) -> Change:
    change = codec.decode(document, default_namespace="default", source=source)
    assert isinstance(change, Change)
    return at(change, source, locator)


def test_an_object_is_created_read_replaced_and_deleted(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        made = await server.request("POST", VIRTUAL_SERVICES, virtual_service())
        name = f"{VIRTUAL_SERVICES}/reviews"
        got = await server.request("GET", name)
        changed = {**got.json, "spec": virtual_service(subset="v2")["spec"]}
        put = await server.request("PUT", name, changed)
        gone = await server.request("DELETE", name)
        after = await server.request("GET", name)

        assert (made.code, got.code, put.code, gone.code, after.code) == (201, 200, 200, 200, 404)
        assert made.json == got.json
        assert got.json["metadata"]["generation"] == 1
        assert put.json["metadata"]["generation"] == 2
        assert put.json["metadata"]["uid"] == got.json["metadata"]["uid"]
        assert gone.json["status"] == "Success"
        assert gone.json["details"]["uid"] == got.json["metadata"]["uid"]
        assert after.json["message"] == 'virtualservices.networking.istio.io "reviews" not found'
        assert after.json["reason"] == "NotFound"

    run(tmp_path, story)


def test_a_second_create_is_409_already_exists(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await server.request("POST", CONFIG_MAPS, config_map())
        again = await server.request("POST", CONFIG_MAPS, config_map())

        assert again.code == 409
        assert again.json["reason"] == "AlreadyExists"

    run(tmp_path, story)


def test_a_replace_of_an_old_version_is_409_conflict(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        first = (await server.request("POST", VIRTUAL_SERVICES, virtual_service())).json
        spec = virtual_service(subset="v2")["spec"]
        name = f"{VIRTUAL_SERVICES}/reviews"
        await server.request("PUT", name, {**first, "spec": spec})
        late = await server.request("PUT", name, {**first, "spec": {"hosts": ["x"]}})
        blind = await server.request("PUT", name, virtual_service(subset="v3"))

        assert late.code == 409
        assert late.json["reason"] == "Conflict"
        assert "the object has been modified" in late.json["message"]
        assert blind.code == 422
        assert "must be specified for an update" in blind.json["message"]

    run(tmp_path, story)


def test_a_write_that_changes_nothing_keeps_the_resource_version(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        first = (await server.request("POST", VIRTUAL_SERVICES, virtual_service())).json
        name = f"{VIRTUAL_SERVICES}/reviews"
        put = (await server.request("PUT", name, first)).json
        patch = {"spec": {"hosts": ["reviews"]}}
        patched = (await server.request("PATCH", name, patch, Content_Type=MERGE)).json

        assert put == first
        assert patched == first

    run(tmp_path, story)


def test_concurrent_patches_all_come_through(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await server.request("POST", CONFIG_MAPS, config_map())
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                patch = {"data": {f"k{number}": "v"}}
                group.create_task(
                    server.request("PATCH", f"{CONFIG_MAPS}/c", patch, Content_Type=MERGE)
                )

        data = (await server.request("GET", f"{CONFIG_MAPS}/c")).json["data"]
        assert sorted(data) == ["k0", "k1", "k2", "k3"]

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("body", "media", "code", "says"),
    [
        (b"{", "application/json", 400, "not valid JSON"),
        (b"[]", "application/json", 400, "not an object"),
        (b"a: [", "application/yaml", 400, "not valid YAML"),
        (b"\xff\xfe", "application/yaml", 400, "not valid YAML"),
        (b"{}", "text/plain", 415, "accepted media types"),
        (b"{}", "application/vnd.kubernetes.protobuf", 400, "protobuf"),
        (b"k8s\x00\x12\x05abc", "application/vnd.kubernetes.protobuf", 400, "protobuf"),
        (b" " * (3 * 1024 * 1024 + 1), "application/json", 413, "limit is 3145728"),
        (b"[" * 5000 + b"]" * 5000, "application/json", 400, "JSON"),
        (b'{"kind":"Pod","apiVersion":"networking.istio.io/v1"}', "application/json", 400, "kind"),
        (b'{"kind":"VirtualService","apiVersion":"v1"}', "application/json", 400, "API version"),
        (b'{"apiVersion":"networking.istio.io/v1"}', "application/json", 400, "'Kind' is missing"),
        (b'{"metadata": 3}', "application/json", 400, "metadata"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_and_nothing_is_stored(
    body: bytes, media: str, code: int, says: str, tmp_path: Path
) -> None:
    async def story(server: Api) -> None:
        before = server.store.revision
        answer = await server.request("POST", VIRTUAL_SERVICES, body, Content_Type=media)

        assert answer.code == code
        assert answer.json["kind"] == "Status"
        assert says in answer.json["message"]
        assert server.store.revision == before

    run(tmp_path, story)


def test_another_namespace_or_name_than_the_path_says_is_400(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        body = virtual_service(namespace="other")
        posted = await server.request("POST", VIRTUAL_SERVICES, body)
        made = (await server.request("POST", VIRTUAL_SERVICES, virtual_service())).json
        renamed = {**made, "metadata": {**made["metadata"], "name": "x"}}
        put = await server.request("PUT", f"{VIRTUAL_SERVICES}/reviews", renamed)

        assert (posted.code, put.code) == (400, 400)
        assert "does not match the namespace" in posted.json["message"]
        assert "does not match the name on the URL" in put.json["message"]

    run(tmp_path, story)


def test_unknown_fields_are_refused_told_or_ignored_as_asked(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        def body(name: str) -> bytes:
            found = virtual_service(name)
            found["spec"]["hostz"] = ["a"]
            return json.dumps(found).replace('"hosts"', '"gateways": ["mesh"], "hosts"', 1).encode()

        strict = await server.request(
            "POST", f"{VIRTUAL_SERVICES}?fieldValidation=Strict", body("a")
        )
        warn = await server.request("POST", VIRTUAL_SERVICES, body("b"))
        ignore = await server.request(
            "POST", f"{VIRTUAL_SERVICES}?fieldValidation=Ignore", body("c")
        )

        assert strict.code == 400
        assert 'strict decoding error: unknown field "spec.hostz"' in strict.json["message"]
        assert warn.code == 201
        assert '299 - "unknown field \\"spec.hostz\\""' in warn.warnings
        assert ignore.code == 201
        assert not any("hostz" in warning for warning in ignore.warnings)

    run(tmp_path, story)


def test_a_strict_patch_answers_for_what_it_brings_alone(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        found = virtual_service("a")
        found["spec"]["hostz"] = ["a"]
        await server.request("POST", VIRTUAL_SERVICES, found)
        path, merge = f"{VIRTUAL_SERVICES}/a?fieldValidation=Strict", "application/merge-patch+json"

        async def patch(spec: dict[str, Any]) -> Any:
            body = json.dumps({"spec": spec}).encode()
            return await server.request("PATCH", path, body, **{"Content-Type": merge})

        good, bad = await patch({"hosts": ["b"]}), await patch({"gatewayz": ["b"]})

        assert (good.code, good.json["spec"]["hosts"]) == (200, ["b"])
        assert '299 - "unknown field \\"spec.hostz\\""' in good.warnings
        assert bad.code == 400
        assert bad.json["message"].endswith('strict decoding error: unknown field "spec.gatewayz"')

    run(tmp_path, story)


def test_a_field_that_is_there_twice_is_named(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        body = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"},'
        body += b'"data":{"x":"1","y":"2","x":"3"}}'
        strict = await server.request("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", body)
        warn = await server.request("POST", CONFIG_MAPS, body)

        assert strict.code == 400
        assert 'duplicate field "data.x"' in strict.json["message"]
        assert warn.warnings == ['299 - "duplicate field \\"data.x\\""']
        assert warn.json["data"] == {"x": "3", "y": "2"}

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", CONFIG_MAPS, "limit"),
        ("GET", CONFIG_MAPS, "resourceVersion"),
        ("GET", f"{CONFIG_MAPS}?watch=1", "timeoutSeconds"),
        ("DELETE", CONFIG_MAPS, "gracePeriodSeconds"),
        ("GET", "/plait/v1/delivered", "timeout"),
    ],
)
def test_a_parameter_that_is_no_number_is_400(
    tmp_path: Path, method: str, path: str, name: str
) -> None:
    async def story(server: Api) -> None:
        for said in ("many", "-1", "²", "9" * 5000):
            sign = "&" if "?" in path else "?"
            answer = await server.request(method, f"{path}{sign}{name}={said}")

            assert answer.code == 400, said
            assert f"{name}: Invalid value" in answer.json["message"]

    run(tmp_path, story)


def test_one_of_very_many_fields_that_is_there_twice_holds_nobody_up(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        fields = ",".join(f'"k{n}":""' for n in (*range(100_000), 0))
        body = f'{{"kind":"ConfigMap","metadata":{{"name":"c"}},"data":{{{fields}}}}}'.encode()
        async with asyncio.timeout(30):  # one look at all others for each would take minutes
            answer = await server.request("POST", f"{CONFIG_MAPS}?dryRun=All", body)

        assert answer.warnings == ['299 - "duplicate field \\"data.k0\\""']

    run(tmp_path, story)


def test_an_object_that_is_not_valid_is_422_with_every_cause(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        body = virtual_service()
        body["spec"]["http"][0]["route"][0]["weight"] = "many"
        answer = await server.request("POST", VIRTUAL_SERVICES, body)

        assert answer.code == 422
        assert answer.json["reason"] == "Invalid"
        fields = [cause["field"] for cause in answer.json["details"]["causes"]]
        assert "spec.http[0].route[0].weight" in fields
        assert server.store.records("VirtualService") == ()

    run(tmp_path, story)


def test_a_dry_run_answers_as_if_and_stores_nothing(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        made = await server.request("POST", f"{CONFIG_MAPS}?dryRun=All", config_map())
        wrong = await server.request("POST", f"{CONFIG_MAPS}?dryRun=Some", config_map())

        assert made.code == 201
        assert made.json["metadata"]["uid"]
        assert wrong.code == 422
        assert server.store.records("ConfigMap") == ()

    run(tmp_path, story)


def test_generate_name_makes_a_name_up(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        body = {"metadata": {"generateName": "c-"}}
        made = await server.request("POST", CONFIG_MAPS, body)
        nameless = await server.request("POST", CONFIG_MAPS, {"metadata": {}})

        assert made.json["metadata"]["name"].startswith("c-")
        assert len(made.json["metadata"]["name"]) == 7
        assert nameless.code == 422

    run(tmp_path, story)


def test_what_finalizers_hold_goes_with_the_last_of_them(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        body = config_map()
        body["metadata"]["finalizers"] = ["example.com/hold"]
        await server.request("POST", CONFIG_MAPS, body)
        held = await server.request("DELETE", f"{CONFIG_MAPS}/c")
        still = await server.request("GET", f"{CONFIG_MAPS}/c")
        more = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
        refused = await server.request("PATCH", f"{CONFIG_MAPS}/c", more, Content_Type=MERGE)
        free = {"metadata": {"finalizers": None}}
        freed = await server.request("PATCH", f"{CONFIG_MAPS}/c", free, Content_Type=MERGE)
        gone = await server.request("GET", f"{CONFIG_MAPS}/c")

        assert held.json["metadata"]["deletionTimestamp"]
        assert still.code == 200
        assert refused.code == 422
        assert freed.code == 200
        assert gone.code == 404

    run(tmp_path, story)


def test_a_delete_with_a_precondition_that_does_not_hold_is_409(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await server.request("POST", CONFIG_MAPS, config_map())
        wanted = {"preconditions": {"uid": "someone-else"}}
        answer = await server.request("DELETE", f"{CONFIG_MAPS}/c", wanted)

        assert answer.code == 409
        assert len(server.store.records("ConfigMap")) == 1

    run(tmp_path, story)


def test_a_collection_is_deleted_by_its_labels(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        for name in ("a", "b", "c"):
            labels = {"keep": "yes" if name == "c" else "no"}
            await server.request("POST", CONFIG_MAPS, config_map(name, labels))
        answer = await server.request("DELETE", f"{CONFIG_MAPS}?labelSelector=keep%3Dno")

        assert [item["metadata"]["name"] for item in answer.json["items"]] == ["a", "b"]
        assert [record.key.name for record in server.store.records("ConfigMap")] == ["c"]

    run(tmp_path, story)


def test_a_list_comes_in_pages(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        for number in range(5):
            await server.request("POST", CONFIG_MAPS, config_map(f"c{number}"))
        first = (await server.request("GET", f"{CONFIG_MAPS}?limit=2")).json
        token = first["metadata"]["continue"]
        await server.request("POST", CONFIG_MAPS, config_map("d"))
        second = (await server.request("GET", f"{CONFIG_MAPS}?limit=2&continue={token}")).json
        wrong = await server.request("GET", f"{CONFIG_MAPS}?continue=nonsense")

        assert first["kind"] == "ConfigMapList"
        assert first["metadata"]["remainingItemCount"] == 3
        assert [i["metadata"]["name"] for i in first["items"]] == ["c0", "c1"]
        assert [i["metadata"]["name"] for i in second["items"]] == ["c2", "c3"]
        assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        assert wrong.code == 400

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/apis/nowhere.io/v1/things", 404),
        ("/apis/networking.istio.io/v9/virtualservices", 404),
        ("/apis/networking.istio.io/v1/things", 404),
        ("/api/v1/configmaps?resourceVersion=abc", 400),
        ("/api/v1/configmaps?resourceVersion=999999", 504),
        ("/api/v1/configmaps?labelSelector=a%20b", 400),
        ("/nowhere", 404),
    ],
)
def test_reads_that_make_no_sense_are_refused(path: str, code: int, tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        assert (await server.request("GET", path)).code == code

    run(tmp_path, story)


def test_every_version_of_a_kind_shows_the_same_object(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await server.request("POST", VIRTUAL_SERVICES, virtual_service())
        old = await server.request("GET", VIRTUAL_SERVICES.replace("/v1/", "/v1alpha3/"))

        assert old.json["apiVersion"] == "networking.istio.io/v1alpha3"
        assert old.json["items"][0]["apiVersion"] == "networking.istio.io/v1alpha3"

    run(tmp_path, story)


async def lines(server: Api, path: str, count: int) -> list[Any]:
    async with server.session.get(server.url + path) as answer:
        return [json.loads(await answer.content.readline()) for _ in range(count)]


def test_a_watch_tells_what_is_there_and_then_what_changes(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await server.request("POST", CONFIG_MAPS, config_map("a"))
        path = f"{CONFIG_MAPS}?watch=1&allowWatchBookmarks=true"
        async with server.session.get(server.url + path) as answer:

            async def line() -> tuple[str, str]:
                found = json.loads(await answer.content.readline())
                return found["type"], found["object"]["metadata"].get("name", "")

            start = [await line(), await line()]
            await server.request("POST", CONFIG_MAPS, config_map("b"))
            await server.request(
                "PATCH", f"{CONFIG_MAPS}/b", {"data": {"x": "1"}}, Content_Type=MERGE
            )
            await server.request("DELETE", f"{CONFIG_MAPS}/a")
            rest = [await line(), await line(), await line()]

        assert start == [("ADDED", "a"), ("BOOKMARK", "")]
        assert rest == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "a")]

    run(tmp_path, story)


def test_a_watch_goes_on_from_a_revision(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await server.request("POST", CONFIG_MAPS, config_map("a"))
        revision = (await server.request("GET", CONFIG_MAPS)).json["metadata"]["resourceVersion"]
        await server.request("POST", CONFIG_MAPS, config_map("b"))
        found = await lines(server, f"{CONFIG_MAPS}?watch=1&resourceVersion={revision}", 1)

        assert found[0]["object"]["metadata"]["name"] == "b"

    run(tmp_path, story)


def test_an_object_that_leaves_the_selection_is_told_as_deleted(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await server.request("POST", CONFIG_MAPS, config_map("a", {"x": "1"}))
        path = f"{CONFIG_MAPS}?watch=1&labelSelector=x%3D1"
        async with server.session.get(server.url + path) as answer:
            await answer.content.readline()
            patch = {"metadata": {"labels": {"x": "2"}}}
            new = await server.request("PATCH", f"{CONFIG_MAPS}/a", patch, Content_Type=MERGE)
            found = json.loads(await answer.content.readline())

        assert found["type"] == "DELETED"
        assert found["object"]["metadata"]["labels"] == {"x": "1"}
        version = new.json["metadata"]["resourceVersion"]
        assert found["object"]["metadata"]["resourceVersion"] == version

    run(tmp_path, story)


def test_a_watch_ends_when_its_time_is_over(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        answer = await server.request("GET", f"{CONFIG_MAPS}?watch=1&timeoutSeconds=1")

        assert (answer.code, answer.text) == (200, "")

    run(tmp_path, story)


class Findings(NoPages):
    """Pages whose conditions the test sets."""

    def __init__(self) -> None:
        self.found: tuple[Condition, ...] = ()
        self.tell: Callable[[Key], None] = lambda key: None

    def conditions(self, key: Key) -> tuple[Condition, ...]:
        return self.found if key.kind == "VirtualService" else ()

    def follow_conditions(self, changed: Callable[[Key], None]) -> Callable[[], None]:
        self.tell = changed
        return lambda: None


def accepted(status: str) -> Condition:
    return Condition(type="Accepted", status=status, reason="Valid", message="it can be read")


def test_conditions_are_shown_and_their_changes_are_watched(tmp_path: Path) -> None:
    pages = Findings()

    async def story(server: Api) -> None:
        pages.found = (accepted("False"),)
        await server.request("POST", VIRTUAL_SERVICES, virtual_service())
        async with server.session.get(f"{server.url}{VIRTUAL_SERVICES}?watch=1") as answer:
            first = json.loads(await answer.content.readline())
            pages.found = (accepted("True"),)
            pages.tell(key("VirtualService", "default", "reviews"))
            second = json.loads(await answer.content.readline())

        assert first["object"]["status"]["conditions"][0]["status"] == "False"
        assert second["type"] == "MODIFIED"
        assert second["object"]["status"]["conditions"][0]["status"] == "True"

    run(tmp_path, story, pages=pages)


def test_a_watch_does_not_tell_the_same_conditions_again(tmp_path: Path) -> None:
    pages = Findings()

    async def story(server: Api) -> None:
        pages.found = (accepted("True"),)
        await server.request("POST", VIRTUAL_SERVICES, virtual_service())
        async with server.session.get(f"{server.url}{VIRTUAL_SERVICES}?watch=1") as answer:
            await answer.content.readline()
            pages.tell(key("VirtualService", "default", "reviews"))
            other = virtual_service()
            other["metadata"]["name"] = "other"
            await server.request("POST", VIRTUAL_SERVICES, other)
            second = json.loads(await answer.content.readline())
        assert (second["type"], second["object"]["metadata"]["name"]) == ("ADDED", "other")

    run(tmp_path, story, pages=pages)


def test_only_the_subresource_changes_the_status(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        body = {**virtual_service(), "status": {"x": "ignored"}}
        made = await server.request("POST", VIRTUAL_SERVICES, body)
        path = f"{VIRTUAL_SERVICES}/reviews"
        patch = {"status": {"y": 1}, "spec": {"hosts": ["other"]}}
        patched = await server.request("PATCH", f"{path}/status", patch, Content_Type=MERGE)

        assert "status" not in made.json
        assert patched.json["status"] == {"y": 1}
        assert patched.json["spec"]["hosts"] == ["reviews"]
        assert patched.json["metadata"]["generation"] == 1

    run(tmp_path, story)


def test_a_namespace_exists_as_soon_as_something_is_in_it(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        path = CONFIG_MAPS.replace("default", "demo")
        before = await server.request("GET", "/api/v1/namespaces/demo")
        made = await server.request("POST", path, config_map())
        listed = await server.request("GET", "/api/v1/namespaces")
        after = await server.request("GET", "/api/v1/namespaces/demo")
        names = [item["metadata"]["name"] for item in listed.json["items"]]
        gone = await server.request("DELETE", "/api/v1/namespaces/demo")
        kept = await server.request("DELETE", "/api/v1/namespaces/default")

        assert before.code == 404
        assert 'namespace \\"demo\\" has no Namespace object' in made.warnings[0]
        assert names == ["default", "demo", "istio-system"]
        assert after.code == 200
        assert gone.code == 200
        assert server.store.records("ConfigMap") == ()
        assert kept.code == 403

    run(tmp_path, story)


def test_an_object_of_two_sources_is_reported_as_a_conflict(tmp_path: Path) -> None:
    """DM-09: a directory of files and the API are used together."""
    files = Said("files")

    async def story(server: Api) -> None:
        files.say(read(virtual_service(subset="v1"), "files", "reviews.yaml:14"))
        reviews = key("VirtualService", "default", "reviews")
        await until(lambda: server.store.record(reviews), "the file is read")
        name = f"{VIRTUAL_SERVICES}/reviews"
        refused = await server.request("DELETE", name)
        spec = {"spec": virtual_service(subset="v2")["spec"]}
        patched = await server.request("PATCH", name, spec, Content_Type=MERGE)
        faults = (await server.request("GET", "/plait/v1/faults")).json
        gone = await server.request("DELETE", name)
        back = await server.request("GET", name)

        assert refused.code == 409
        assert "defined by files (reviews.yaml:14): delete it there" in refused.json["message"]
        assert "PLT1008" in patched.warnings[0]
        assert "reviews.yaml:14" in patched.warnings[0]
        assert faults["conflicts"][0]["object"] == "VirtualService default/reviews"
        assert faults["conflicts"][0]["others"] == [
            {"source": "files", "locator": "reviews.yaml:14"}
        ]
        assert "still defined by files" in gone.warnings[0]
        assert back.json["spec"] == virtual_service(subset="v1")["spec"]

    run(tmp_path, story, sources=[files])


def test_apply_needs_a_manager_and_force_needs_apply(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        path = f"{CONFIG_MAPS}/c"
        nobody = await server.request("PATCH", path, config_map(), Content_Type=APPLY)
        force = await server.request("PATCH", f"{path}?force=true", {}, Content_Type=MERGE)
        made = await server.request(
            "PATCH", f"{path}?fieldManager=ann", config_map(x="1"), Content_Type=APPLY
        )
        other = await server.request(
            "PATCH", f"{path}?fieldManager=ben", config_map(x="2"), Content_Type=APPLY
        )

        assert (nobody.code, force.code, made.code, other.code) == (422, 422, 201, 409)
        assert 'conflict with "ann": .data.x' in other.json["message"]

    run(tmp_path, story)


def test_strategic_patches_are_for_kinds_of_kubernetes_only(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        await server.request("POST", VIRTUAL_SERVICES, virtual_service())
        media = "application/strategic-merge-patch+json"
        path = f"{VIRTUAL_SERVICES}/reviews"
        answer = await server.request("PATCH", path, {}, Content_Type=media)

        assert answer.code == 415

    run(tmp_path, story)


def test_pages_are_json_and_streams_of_events(tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        version = await server.request("GET", "/plait/v1/version")
        delivered = await server.request("GET", "/plait/v1/delivered?revision=1&timeout=2")
        missing = await server.request("GET", "/plait/v1/proxies/x/config/all")
        wrong = await server.request("GET", "/plait/v1/proxies/x/config/nonsense")
        async with server.session.get(f"{server.url}/plait/v1/proxies?watch=1") as answer:
            first = await answer.content.readline()

        assert version.json["revision"] == 0
        assert delivered.code == 200
        assert (missing.code, wrong.code) == (404, 400)
        assert first == b"data: []\n"

    run(tmp_path, story)


@pytest.mark.parametrize("junk", [0, True, "x", [], [1], {"a": None}, [{}], "\x00"])
def test_nothing_that_a_client_sends_is_an_internal_error(junk: Any, tmp_path: Path) -> None:
    fields = ("name", "labels", "annotations", "finalizers", "ownerReferences", "managedFields")

    def bodies() -> list[Any]:
        wrong = [virtual_service(**{"name": "reviews", field: junk}) for field in fields]
        wrong += [{**virtual_service(), part: junk} for part in ("metadata", "spec", "status")]
        spec = virtual_service()["spec"]
        return [*wrong, {**virtual_service(), "spec": {**spec, "http": junk}}, junk]

    async def story(server: Api) -> None:
        name = f"{VIRTUAL_SERVICES}/reviews"
        await server.request("POST", VIRTUAL_SERVICES, virtual_service())
        for body in bodies():
            answers = [
                await server.request("POST", VIRTUAL_SERVICES, body),
                await server.request("PUT", name, body),
                await server.request("PATCH", f"{name}?dryRun=All", body, Content_Type=MERGE),
                await server.request(
                    "PATCH", f"{name}/status", {"status": body}, Content_Type=MERGE
                ),
                await server.request("PATCH", f"{name}?fieldManager=m", body, Content_Type=APPLY),
            ]
            assert [answer.code for answer in answers if answer.code >= 500] == []

    run(tmp_path, story)


def test_a_full_disk_is_507_with_its_reason() -> None:
    target = paths.target("", "v1", "namespaces/default/configmaps/c")

    error = refused(StoreFullError("no space left on /data"), target, "c")

    assert error.code == 507
    assert error.body["reason"] == "InsufficientStorage"
    assert "no space left" in error.body["message"]


@pytest.mark.parametrize("header", [{"Host": "evil.example:80"}, {"Origin": "http://evil.example"}])
def test_web_pages_of_others_are_kept_out(header: dict[str, str], tmp_path: Path) -> None:
    async def story(server: Api) -> None:
        answer = await server.request("POST", CONFIG_MAPS, config_map(), **header)

        assert answer.code == 403
        assert server.store.records("ConfigMap") == ()

    run(tmp_path, story)
