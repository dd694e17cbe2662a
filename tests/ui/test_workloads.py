"""The verbs for what runs: logs, scale, restart, exec, and workloads in status."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plait.config.meta import Key
from plait.serve.api.pages import NoPages
from tests.support.api_server import PATIENCE, Api, Ran, api, until
from tests.support.plane import PLAIT, ROOT
from tests.support.runtime import FakeRuntime
from tests.support.stores import put
from tests.support.workloads import deployment, pod

HEALTHY: Mapping[str, Any] = {
    "proxies": [],
    "objects": [],
    "faults": [],
    "failures": [],
    "store": "",
}


class Healthy(NoPages):
    """A mesh without proxies and troubles."""

    def status(self) -> Any:
        return HEALTHY


class Land:
    """A control plane whose Pods say that they run, and the command line."""

    def __init__(self, served: Api, runtime: FakeRuntime) -> None:
        self.served = served
        self.runtime = runtime

    async def run(self, *words: str, stdin: str = "") -> Ran:
        """``plait WORDS``, to its end."""
        process = await self.start(*words)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), PATIENCE)
        assert process.returncode is not None
        assert b"Traceback" not in err, err.decode()
        return Ran(code=process.returncode, out=out.decode(), err=err.decode())

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await started(self.served.url, *words)

    async def has(self, replicas: int) -> list[Key]:
        """Deployment web with Pods that run; they, in the order of their names."""
        await put(self.served.store, deployment(replicas=replicas))
        await until(lambda: len(self.ready()) == replicas, "Pods run")
        return self.ready()

    def waits(self, name: str) -> bool:
        """Whether a Pod's row says that its container cannot start."""
        rows = [row for row in self.served.store.records("Pod") if row.key.name == name]
        found = rows[0].status if rows else None
        return "waiting" in str((found or {}).get("containerStatuses"))

    def ready(self) -> list[Key]:
        """The Pods whose rows say that they are ready."""
        rows = self.served.store.records("Pod")
        return sorted(
            (row.key for row in rows if _is_ready(row.status or {})), key=lambda key: key.name
        )


def _is_ready(status: Mapping[str, Any]) -> bool:
    held = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return held.get("Ready") == "True"


async def started(server: str, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *PLAIT,
        *words,
        env={**os.environ, "PLAIT_SERVER": server},
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def check(path: Path, body: Callable[[Land], Awaitable[None]]) -> None:
    async def main() -> None:
        runtime = FakeRuntime()
        async with api(path, runtime=runtime, pages=Healthy()) as served:
            await body(Land(served, runtime))

    asyncio.run(main())


@contextmanager
def answering(pages: Mapping[str, Any]) -> Iterator[str]:
    """A server that answers paths with JSON; its address."""

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(pages[self.path.partition("?")[0]]).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def run(pages: Mapping[str, Any], *words: str) -> Ran:
    """``plait WORDS`` at a control plane with these pages."""

    async def main(server: str) -> Ran:
        process = await started(server, *words)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode is not None
        assert b"Traceback" not in err, err.decode()
        return Ran(code=process.returncode, out=out.decode(), err=err.decode())

    with answering(pages) as server:
        return asyncio.run(main(server))


# logs


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "one\ntwo\n"),
        (("--tail", "1"), "two\n"),
        (("--tail=0",), ""),
        (("--tail=-1",), "one\ntwo\n"),
        (("-c", "app"), "one\ntwo\n"),
    ],
)
def test_the_log_of_a_pod_is_printed_as_it_is(tmp_path: Path, flags: Sequence[str], said: str):
    async def body(land: Land) -> None:
        (key,) = await land.has(1)
        land.runtime.say(key, "one\ntwo\n")

        for name in (key.name, f"pod/{key.name}", "deployment/web"):
            assert await land.run("logs", name, "-n", "demo", *flags) == Ran(
                code=0, out=said, err=""
            )

    check(tmp_path, body)


@pytest.mark.parametrize(
    ("annotations", "flags", "said"),
    [
        ({}, (), 'Defaulted container "first" out of: first, main\n'),
        ({}, ("-c", "main"), ""),
        ({"kubectl.kubernetes.io/default-container": "main"}, (), ""),
    ],
)
def test_of_several_containers_the_one_that_nobody_named_is(
    tmp_path: Path, annotations: dict[str, str], flags: Sequence[str], said: str
):
    async def body(land: Land) -> None:
        found = pod(containers=[{"name": name, "image": "demo"} for name in ("first", "main")])
        found["metadata"]["annotations"] = annotations
        await put(land.served.store, found)
        await until(land.ready, "the Pod runs")

        ran = await land.run("logs", "alone", "-n", "demo", *flags)

        assert ran == Ran(code=0, out="hello\n", err=said)

    check(tmp_path, body)


def test_lines_of_several_pods_begin_with_their_names(tmp_path: Path):
    async def body(land: Land) -> None:
        first, second = await land.has(2)
        land.runtime.say(second, "no end of line")

        ran = await land.run("logs", "deployment/web", "-n", "demo")

        assert ran.out == f"[{first.name}] hello\n[{second.name}] no end of line\n"

    check(tmp_path, body)


def test_several_pods_are_followed_until_they_are_gone(tmp_path: Path):
    async def body(land: Land) -> None:
        pods = await land.has(2)
        process = await land.start("logs", "-f", "deployment/web", "-n", "demo")
        assert process.stdout is not None
        lines = {await asyncio.wait_for(process.stdout.readline(), PATIENCE) for _ in pods}
        await land.run("scale", "deployment/web", "--replicas", "0", "-n", "demo")
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE)

        assert lines == {f"[{key.name}] hello\n".encode() for key in pods}
        assert (process.returncode, err) == (0, b"")

    check(tmp_path, body)


@pytest.mark.parametrize("flags", [(), ("-f",)])
def test_a_log_that_cannot_be_read_is_named_and_others_are_printed(
    tmp_path: Path, flags: Sequence[str]
):
    async def body(land: Land) -> None:
        first, second = await land.has(2)
        land.runtime.crash(second)

        ran = await land.run("logs", "deployment/web", "--previous", "-n", "demo", *flags)

        assert (ran.code, ran.out) == (1, f"[{second.name}] hello\n")
        assert ran.err.startswith(f"error: {first.name}: ")
        assert "no run before" in ran.err

    check(tmp_path, body)


def test_a_reader_that_leaves_ends_the_logs(tmp_path: Path):
    async def body(land: Land) -> None:
        pods = await land.has(2)
        for key in pods:
            land.runtime.say(key, "much\n" * 100_000)
        script = 'exec "$@" | head -n 1'
        words = ("sh", "-c", script, "sh", *PLAIT, "logs", "-f", "deployment/web", "-n", "demo")
        process = await asyncio.create_subprocess_exec(
            *words,
            env={**os.environ, "PLAIT_SERVER": land.served.url},
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)

        assert out.count(b"\n") == 1
        assert err == b""

    check(tmp_path, body)


def test_what_has_no_log_is_named_with_the_way_out(tmp_path: Path):
    async def body(land: Land) -> None:
        (key,) = await land.has(1)

        container = await land.run("logs", key.name, "-c", "no", "-n", "demo")
        before = await land.run("logs", "-p", key.name, "-n", "demo")
        nobody = await land.run("logs", "web", "-n", "demo")
        elsewhere = await land.run("logs", "deployment/web")
        kind = await land.run("logs", "service/web")

        assert {one.code for one in (container, before, nobody, elsewhere, kind)} == {1}
        assert f"container no is not valid for pod {key.name}: choose one of app" in container.err
        assert key.name in before.err
        assert nobody.err == (
            'error: there is no pod/web in namespace "demo"; '
            "see: plait get pods -A; of a Deployment: deployment/web\n"
        )
        assert elsewhere.err == (
            'error: there is no deployment.apps/web in namespace "default"; '
            "see: plait get deployments -A\n"
        )
        assert kind.err == 'error: "service/web": write POD or deployment/NAME\n'

    check(tmp_path, body)


def test_a_deployment_without_pods_is_told_how_to_get_one(tmp_path: Path):
    async def body(land: Land) -> None:
        await land.has(0)

        ran = await land.run("logs", "deployment/web", "-n", "demo")

        assert ran.code == 1
        assert "plait scale deployment/web --replicas 1 -n demo" in ran.err

    check(tmp_path, body)


# scale and restart


def test_scale_waits_until_as_many_are_ready(tmp_path: Path):
    async def body(land: Land) -> None:
        await land.has(1)

        plain = await land.run("scale", "deployment/web", "--replicas", "2", "-n", "demo")
        waited = await land.run("scale", "web", "--replicas=3", "--wait", "-n", "demo")

        assert plain == Ran(code=0, out="deployment.apps/web scaled\n", err="")
        assert waited.out == "deployment.apps/web scaled\n3 of 3 ready\n"
        assert len(land.runtime.pods) == 3

    check(tmp_path, body)


def test_a_wait_that_is_too_short_says_how_many_are_ready(tmp_path: Path):
    async def body(land: Land) -> None:
        await land.has(1)
        land.runtime.is_ready = lambda _: False

        words = ("deployment/web", "--replicas=2", "--wait", "--timeout=0.5", "-n", "demo")
        ran = await land.run("scale", *words)

        assert ran.code == 1
        assert "deployment.apps/web: 1 of 2 ready after 0.5 s; see: plait status" in ran.err

    check(tmp_path, body)


@pytest.mark.parametrize("verb", [("scale", "--replicas=1"), ("restart",)])
def test_only_deployments_that_exist_are_scaled_and_restarted(tmp_path: Path, verb: Sequence[str]):
    async def body(land: Land) -> None:
        missing = await land.run(*verb, "deployment/no", "-n", "demo")
        other = await land.run(*verb, "pod/web", "-n", "demo")

        assert (missing.code, other.code) == (1, 1)
        assert 'there is no deployment.apps/no in namespace "demo"' in missing.err
        assert '"pod/web" is no Deployment: write deployment/NAME' in other.err

    check(tmp_path, body)


def test_a_number_of_pods_is_needed_and_no_less_than_none(tmp_path: Path):
    async def body(land: Land) -> None:
        none = await land.run("scale", "deployment/web")
        less = await land.run("scale", "deployment/web", "--replicas=-1")

        assert (none.code, less.code) == (2, 2)
        assert "Missing option '--replicas'" in none.err
        assert "-1 is not in the range" in less.err

    check(tmp_path, body)


def test_restart_puts_new_pods_in_place_of_the_old(tmp_path: Path):
    async def body(land: Land) -> None:
        (before,) = await land.has(1)

        ran = await land.run("restart", "deployment/web", "--wait", "-n", "demo")
        (after,) = land.runtime.pods

        assert ran == Ran(code=0, out="deployment.apps/web restarted\n1 of 1 ready\n", err="")
        assert after != before

    check(tmp_path, body)


# exec


@pytest.mark.parametrize(
    ("words", "code", "out"),
    [
        (("--", "/bin/sh", "-c", "cat; exit 7"), 7, "typed"),
        (("-it", "--", "/bin/echo", "-n", "--", "-c"), 0, "-- -c"),
        (("-c", "app", "--", "/bin/echo", "a b"), 0, "a b\n"),
        (("/bin/echo", "plain"), 0, "plain\n"),
    ],
)
def test_a_command_runs_in_place_of_exec(tmp_path: Path, words: Sequence[str], code: int, out: str):
    async def body(land: Land) -> None:
        await land.has(1)

        ran = await land.run("exec", "-n", "demo", "deployment/web", *words, stdin="typed")

        assert ran == Ran(code=code, out=out, err="")

    check(tmp_path, body)


def test_a_pod_may_say_which_container_is_meant(tmp_path: Path):
    async def body(land: Land) -> None:
        found = pod(containers=[{"name": name, "image": "demo"} for name in ("first", "main")])
        found["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "gone"}
        await put(land.served.store, found)
        await until(land.ready, "the Pod runs")

        ran = await land.run("exec", "alone", "-n", "demo", "--", "/bin/true")

        assert ran.code == 1
        assert "no container gone" in ran.err

    check(tmp_path, body)


def test_what_cannot_be_entered_is_named_with_the_way_out(tmp_path: Path):
    async def body(land: Land) -> None:
        (key,) = await land.has(1)

        nobody = await land.run("exec", "web", "-n", "demo", "--", "/bin/true")
        container = await land.run("exec", key.name, "-c", "no", "-n", "demo", "--", "/bin/true")
        nothing = await land.run("exec", key.name, "-n", "demo")
        unknown = await land.run("exec", "--colour", key.name, "--", "/bin/true")
        absent = await land.run("exec", key.name, "-n", "demo", "--", "/no/such")
        long = await land.run("exec", key.name, "-n", "demo", "--", "/bin/echo", "x" * 8000)

        assert [one.code for one in (nobody, container, long)] == [1, 1, 1]
        assert [one.code for one in (nothing, unknown, absent)] == [2, 2, 127]
        assert 'there is no pod/web in namespace "demo"' in nobody.err
        assert f"{key} has no container no" in container.err
        assert "Missing argument '-- COMMAND…'" in nothing.err
        assert "No such option" in unknown.err
        assert "cannot start /no/such" in absent.err
        assert f"plait exec {key.name} -n demo -- sh < FILE" in long.err

    check(tmp_path, body)


def test_what_does_not_run_is_not_entered_and_says_why(tmp_path: Path):
    async def body(land: Land) -> None:
        volume = {"name": "v", "configMap": {"name": "absent"}}
        await put(land.served.store, pod(volumes=[volume]))
        key = next(iter(land.served.store.records("Pod"))).key
        await until(lambda: land.runtime.status(key), "the Pod is seen")

        ran = await land.run("exec", "alone", "-n", "demo", "--", "/bin/true")

        assert (ran.code, ran.out) == (1, "")
        assert "container app does not run now (CreateContainerConfigError: " in ran.err
        assert 'configmap "absent" not found' in ran.err
        assert "see: plait logs alone -n demo -c app" in ran.err

    check(tmp_path, body)


def test_without_a_runtime_there_is_nothing_to_enter(tmp_path: Path):
    async def main() -> Ran:
        async with api(tmp_path) as served:
            return await Land(served, FakeRuntime()).run("exec", "web", "--", "true")

    ran = asyncio.run(main())

    assert (ran.code, ran.out) == (1, "")
    assert "no Pods run here; in a cluster use kubectl exec" in ran.err


def machine() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ({"uid": 4711}, "the mesh runs as user 4711: run this as that user"),
        ({"machine": "another"}, "runs on another machine: run this there"),
    ],
)
def test_only_who_is_on_the_machine_as_the_same_user_enters(page: Mapping[str, Any], said: str):
    entry = {
        "command": {"command": ["/bin/true"]},
        "uid": os.geteuid(),
        "machine": machine(),
        **page,
    }

    ran = run({"/plait/v1/pods/default/web/entry": entry}, "exec", "web", "--", "true")

    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err


# describe


def test_a_pod_is_described_with_its_containers(tmp_path: Path):
    async def body(land: Land) -> None:
        await land.has(1)
        needs = {"envFrom": [{"configMapRef": {"name": "no"}}]}
        found = pod(containers=[{"name": "app", "image": "demo", **needs}])
        await put(land.served.store, found)
        await until(lambda: land.waits("alone"), "the other waits")

        ran = await land.run("describe", "pod", "-n", "demo")

        assert ran.code == 0, ran.err
        assert re.search(r"^  PodScheduled +True +-$", ran.out, re.MULTILINE)
        assert re.search(r"^  app +True +0 +Running since 1970", ran.out, re.MULTILINE)
        assert re.search(
            r'^  app +False +0 +CreateContainerConfigError: configmap "no" not found$',
            ran.out,
            re.MULTILINE,
        )

    check(tmp_path, body)


def test_a_namespace_that_nobody_wrote_is_described(tmp_path: Path):
    async def body(land: Land) -> None:
        ran = await land.run("describe", "namespace", "default")

        assert ran.code == 0, ran.err
        assert ran.out.startswith("Namespace default  (v1)\nrevision -, generation -, created -\n")

    check(tmp_path, body)


# status


def instance(*, ready: bool = True, **more: Any) -> dict[str, Any]:
    plain = {"name": "web-1", "phase": "Running", "restarts": 0, "reason": "", "message": ""}
    return {**plain, "ready": ready, **more}


def workload(*instances: dict[str, Any], **more: Any) -> dict[str, Any]:
    ready = sum(one["ready"] for one in instances)
    plain = {"kind": "Deployment", "namespace": "demo", "name": "web", "message": ""}
    return {**plain, "desired": 1, "ready": ready, "instances": instances, **more}


def status(page: Mapping[str, Any], *flags: str) -> Ran:
    whole = {"workloads": [], "doors": [], **page}
    return run({"/plait/v1/status": HEALTHY, "/plait/v1/workloads": whole}, "status", *flags)


TAKEN = {"address": "127.0.0.1:82", "open": False, "problem": "another program has it"}
WAITING = instance(ready=False, reason="CrashLoopBackOff", message="it ended with 3")


@pytest.mark.parametrize(
    ("found", "cells"),
    [
        (workload(instance(restarts=2)), "demo/web   1/1     2          Running"),
        (workload(), "demo/web   0/1     0          Pending"),
        (workload(desired=0), "demo/web   0/0     0          Scaled to 0"),
        (workload(instance(), desired=2), "demo/web   1/2     0          Pending"),
        (
            workload(WAITING, {**WAITING, "name": "web-2"}, desired=2),
            "demo/web   0/2     0          CrashLoopBackOff: it ended with 3",
        ),
        (
            workload(instance(ready=False, reason="Error")),
            "demo/web   0/1     0          Error",
        ),
        (
            workload(instance(ready=False, phase="Terminating"), instance()),
            "demo/web   1/1     0          Terminating",
        ),
        (workload(message="no room"), "demo/web   0/1     0          no room"),
    ],
)
def test_status_begins_with_a_line_for_each_workload(found: dict[str, Any], cells: str):
    ran = status({"workloads": [found]})

    assert ran.out.splitlines() == [
        "WORKLOAD   READY   RESTARTS   STATUS",
        cells,
        "",
        "no proxy is connected",
    ]


def test_status_says_where_identities_are_less_safe():
    ran = status({"workloads": [workload(instance())], "weaknesses": ["they share a user"]})

    assert "identities less safe: they share a user" in ran.out.splitlines()


def test_lines_that_a_message_adds_stand_below_the_table():
    told = 'image "web:1" is not in images.toml: add to it\n[images."web:1"]\ncommand = ["x"]'
    lost = instance(ready=False, reason="ImageNotMapped", message=told)

    ran = status({"workloads": [workload(lost), workload(instance(), name="other")]})

    assert ran.out.splitlines()[:7] == [
        "WORKLOAD     READY   RESTARTS   STATUS",
        (
            'demo/web     0/1     0          ImageNotMapped: image "web:1" is not in images.toml: '
            "add to it"
        ),
        "demo/other   1/1     0          Running",
        "demo/web:",
        '  [images."web:1"]',
        '  command = ["x"]',
        "",
    ]


def test_doors_are_addresses_to_open():
    doors = [
        {"address": "127.0.0.1:80", "open": True, "problem": ""},
        {"address": "127.0.0.1:81", "open": False, "problem": ""},
        TAKEN,
    ]

    ran = status({"workloads": [workload(instance())], "doors": doors})

    assert [line for line in ran.out.splitlines() if "http" in line] == [
        "http://127.0.0.1:80   open",
        "http://127.0.0.1:81   opening",
        "http://127.0.0.1:82   another program has it",
    ]


def test_nothing_is_said_of_workloads_where_there_are_none():
    assert status({}).out == "no proxy is connected\n"


def test_programs_read_workloads_and_doors():
    door = {"address": "127.0.0.1:80", "open": True, "problem": ""}

    page = json.loads(status({"workloads": [workload(instance())], "doors": [door]}, "-ojson").out)

    assert (page["workloads"][0]["name"], page["doors"]) == ("web", [door])


@pytest.mark.parametrize(
    ("page", "code"),
    [
        ({"workloads": [workload(instance())]}, 0),
        ({"workloads": [workload(desired=0)]}, 0),
        ({"workloads": [workload(WAITING)]}, 1),
        ({"workloads": [workload(instance())], "doors": [TAKEN]}, 1),
    ],
)
def test_the_exit_code_counts_what_is_not_ready_or_not_open(page: Mapping[str, Any], code: int):
    assert status(page, "--exit-code").code == code


def test_status_shows_what_the_runtime_sees(tmp_path: Path):
    async def body(land: Land) -> None:
        (key,) = await land.has(1)
        land.runtime.crash(key)

        ran = await land.run("status", "--exit-code")

        assert ran.code == 0
        assert ran.out.splitlines()[1].split() == ["demo/web", "1/1", "1", "Running"]

    check(tmp_path, body)
