"""What is wrong is said once, at its place, with the way out; what was in force stays in force."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from plait.mesh import ir
from tests.support import istio, traffic
from tests.support.backend import Backend
from tests.support.envoy import Envoy, eventually
from tests.support.plane import PLAIT, ROOT, Plane, free_port
from tests.support.world import proxy


class World:
    """A directory of objects, the control plane that follows it, and a gateway."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.files = directory / "mesh"
        self.files.mkdir()
        endpoints = [("127.0.33.1", "v1"), ("127.0.33.2", "v2")]
        for one in (
            istio.entry("reviews", endpoints),
            istio.rule("reviews", "v1", "v2"),
            istio.gateway("gw", (port, "HTTP")),
        ):
            self.write(f"{one['kind']}.yaml", json.dumps(one))
        self.route("v1")
        self.plane = Plane(directory, files=self.files)
        stack.enter_context(self.plane)
        for address, version in endpoints:
            stack.enter_context(Backend(version, "--http", f"{address}:9080"))
        config = proxy(self.plane.xds, ir.Role.GATEWAY, "gw", labels={"istio": "ingressgateway"})
        (directory / "gw").mkdir()
        stack.enter_context(Envoy(config, directory / "gw")).ready()
        self.comes("v1")

    def write(self, name: str, text: str) -> None:
        (self.files / name).write_text(text)

    def route(self, version: str) -> None:
        http = istio.weights("reviews", **{version: 1})
        found = istio.virtual_service("reviews", http, hosts=["*"], gateways=["gw"])
        self.write("route.yaml", json.dumps(found))

    def comes(self, version: str) -> None:
        eventually(
            lambda: set(traffic.names(self.address, 5)) == {version}, 15, f"{version} answers"
        )

    def says(self, *words: str) -> str:
        def said() -> str:
            found = self.plane.run("status")
            return found if all(word in found for word in words) else ""

        found: str = eventually(said, 15, f"status says {words}")
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, stack)


ROUTE = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: ["*"]
  gateways: [gw]
  http:
  - route:
    - destination: {host: reviews, subset: v2}
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("apiVersion: [networking\n", ("route.yaml:", "error")),
        (ROUTE.replace("{host: reviews, subset: v2}", "7"), ("route.yaml:9", "PLT1005")),
        (ROUTE + "    weight: lots\n", ("route.yaml:", "PLT10")),
        (ROUTE.replace('hosts: ["*"]', "hosts: []"), ("PLT1006", "spec.hosts")),
    ],
    ids=["broken YAML", "a wrong type", "a misplaced field", "an invalid object"],
)
def test_a_bad_file_is_named_and_the_last_good_version_serves_on(
    world: World, text: str, words: tuple[str, ...]
):
    world.write("route.yaml", text)
    world.write("other.yaml", json.dumps(istio.entry("other", [("127.0.33.1", "v1")])))

    if "weight" not in text:
        world.says(*words)
        world.comes("v1")
    eventually(lambda: "other" in world.plane.run("get", "serviceentries", "-A"))
    world.route("v2")
    world.comes("v2")


def test_one_bad_document_never_blocks_the_others_of_its_file(world: World):
    world.write("route.yaml", ROUTE + "---\nkind: [\n---\n" + json.dumps(istio.rule("more", "v1")))

    world.comes("v2")
    world.says("route.yaml:")
    assert "more" in world.plane.run("get", "destinationrules", "-A")


def test_an_unknown_field_is_a_warning_with_its_place(world: World):
    text = ROUTE.replace("  gateways:", "  gatway: x\n  gateways:")
    world.write("route.yaml", text)

    world.comes("v2")
    assert "route.yaml:6:3" in world.says("PLT1003", "gatway")


def test_a_missing_subset_is_named_with_those_there_are(world: World):
    world.route("v9")

    said = world.says("PLT2004")
    assert 'subset "v9"' in said
    assert "v1, v2" in said


@pytest.mark.parametrize("flag", ["--xds", "--api"])
def test_a_port_in_use_is_one_line_with_the_way_out(tmp_path: Path, flag: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        given = {"--xds": f"127.0.0.1:{free_port()}", "--api": f"127.0.0.1:{free_port()}"}
        options = [part for pair in ({**given, flag: address}).items() for part in pair]
        done = subprocess.run(
            [*PLAIT, "serve", "--data", str(tmp_path), *options],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )

    errors = [line for line in done.stderr.splitlines() if line.lower().startswith("error")]
    assert done.returncode == 1
    assert len(errors) == 1, done.stderr
    assert address in errors[0]
    assert "Traceback" not in done.stderr


def test_a_database_cut_in_half_is_left_alone_and_can_be_recovered(tmp_path: Path):
    plane = Plane(tmp_path)
    with plane:
        plane.apply(*(istio.entry(f"s{n}", [("10.0.0.1", "v1")]) for n in range(40)))
    database = next(path for path in plane.data.iterdir() if path.suffix == ".db")
    whole = database.read_bytes()
    database.write_bytes(whole[: len(whole) // 2])
    before = hashlib.sha256(database.read_bytes()).hexdigest()

    serve = [*PLAIT, "serve", "--data", str(plane.data), "--xds", plane.xds, "--api", plane.api]
    done = subprocess.run(serve, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)

    assert done.returncode != 0
    assert f"plait store recover --data {plane.data}" in done.stderr
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before
    plane.run("store", "recover", "--data", str(plane.data))
    with plane:
        assert plane.get("/readyz")[0] == 200
        plane.apply(istio.entry("after", [("10.0.0.1", "v1")]))


def test_a_running_plane_serves_on_when_its_database_is_cut(world: World):
    database = next(path for path in world.plane.data.iterdir() if path.suffix == ".db")
    database.write_bytes(database.read_bytes()[:100])

    refused = istio.entry("late", [("10.0.0.1", "v1")])
    world.plane.run("apply", "-f", "-", stdin=json.dumps(refused), ok=False)
    world.route("v2")

    world.comes("v2")
