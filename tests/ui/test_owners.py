"""One object written by plait, kubectl and others: the file counts, and nobody is overrun."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.ui.cli import owners
from tests.support import istio
from tests.support.api_server import KUBECTL
from tests.support.plane import Plane

SPEC: dict[str, Any] = {
    "hosts": ["reviews"],
    "gateways": ["mesh", "edge"],
    "http": [{"route": [istio.to("reviews")], "timeout": "5s"}],
}
LESS = {"hosts": ["reviews"], "http": [{"route": [istio.to("reviews")]}]}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with Plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


class File:
    """A VirtualService in a file, and the tools that apply it."""

    def __init__(self, plane: Plane, path: Path) -> None:
        self.plane = plane
        self.path = path
        self.name = path.stem

    def write(self, spec: dict[str, Any], **labels: str) -> None:
        found = istio.document("VirtualService", self.name, spec)
        found["metadata"]["labels"] = labels
        self.path.write_text(json.dumps(found))

    def plait(self, *flags: str, ok: bool = True) -> str:
        return self.plane.run("apply", "-f", str(self.path), *flags, ok=ok)

    def kubectl(self, *flags: str) -> str:
        done = subprocess.run(
            [
                str(KUBECTL),
                "--server",
                f"http://{self.plane.api}",
                "apply",
                "-f",
                self.path,
                *flags,
            ],
            env={**self.plane.environment, "KUBECONFIG": os.devnull},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def other(self, spec: dict[str, Any]) -> None:
        """Another program sets part of the spec."""
        body = istio.document("VirtualService", self.name, spec)
        path = "/apis/networking.istio.io/v1/namespaces/default/virtualservices"
        connection = http.client.HTTPConnection(self.plane.api, timeout=30)
        try:
            connection.request(
                "PATCH",
                f"{path}/{self.name}?fieldManager=rollouts&force=true",
                json.dumps(body),
                {"Content-Type": "application/apply-patch+yaml"},
            )
            assert connection.getresponse().status == 200
        finally:
            connection.close()

    @property
    def live(self) -> dict[str, Any]:
        name = f"vs/{self.name}"
        found: dict[str, Any] = json.loads(
            self.plane.run("get", name, "-o", "json", "--show-managed-fields")
        )
        return found


@pytest.fixture
def file(plane: Plane, tmp_path: Path, request: pytest.FixtureRequest) -> File:
    name = f"o{zlib.crc32(request.node.name.encode())}"
    return File(plane, tmp_path / f"{name}.json")


@pytest.mark.parametrize("flags", [(), ("--server-side",)])
def test_what_is_taken_out_of_a_file_that_kubectl_applied_is_gone(file: File, flags: tuple[str]):
    file.write(SPEC, a="b", c="d")
    file.kubectl(*flags)

    same = file.plait()
    file.write(LESS, a="b")
    said = file.plait()

    assert same.endswith(" unchanged\n")
    assert said.endswith(" configured\n")
    assert (file.live["spec"], file.live["metadata"]["labels"]) == (LESS, {"a": "b"})
    assert [one["manager"] for one in file.live["metadata"]["managedFields"]] == ["plait"]


def test_kubectl_sees_what_plait_applied_in_between(file: File):
    file.write(LESS)
    file.kubectl()
    file.write(SPEC, a="b")
    file.plait()
    file.write(LESS)

    said = file.kubectl()

    assert "missing" not in said
    assert file.live["spec"] == LESS
    assert not file.live["metadata"]["labels"]


def test_objects_of_plait_alone_carry_no_note_for_kubectl(file: File):
    file.write(SPEC)
    file.plait()

    assert "annotations" not in file.live["metadata"]


def test_kubectl_can_go_on_with_an_object_of_plait(file: File):
    file.write(SPEC)
    file.plait()
    changed = {**SPEC, "hosts": ["ratings"]}
    file.write(changed)

    file.kubectl()

    assert file.live["spec"] == changed
    assert file.plait().endswith(" unchanged\n")


def test_what_another_program_set_is_a_conflict_that_can_be_decided(file: File):
    file.write(SPEC)
    file.plait()
    file.other({"hosts": ["canary"]})

    refused = file.plait(ok=False)
    kept = file.live["spec"]["hosts"]
    taken = file.plait("--force-conflicts")

    assert refused == (
        f"error: VirtualService default/{file.name} ({file.path}:1): "
        '"rollouts" set .spec.hosts. Leave that out of the file, or take it over with '
        "--force-conflicts\n"
    )
    assert kept == ["canary"]
    assert taken.endswith(" configured\n")
    assert file.live["spec"]["hosts"] == ["reviews"]


def test_a_dry_run_takes_nothing_over(file: File):
    file.write(SPEC)
    file.kubectl()
    before = file.live
    file.write(LESS)

    file.plait("--dry-run=server")

    assert before == file.live


def test_owners_are_shown_only_if_asked_for(file: File):
    file.write(SPEC)
    file.plait()

    plain = file.plane.run("get", f"vs/{file.name}", "-o", "yaml")

    assert "managedFields" not in plain
    assert file.live["metadata"]["managedFields"]


def test_what_is_shown_can_be_applied_again(file: File):
    file.write(SPEC)
    file.plait()
    file.path.write_text(file.plane.run("get", f"vs/{file.name}", "-o", "yaml"))

    assert file.plait().endswith(" unchanged\n")


def entry(manager: str, operation: str, *labels: str) -> dict[str, Any]:
    owned: dict[str, Any] = {"f:metadata": {"f:labels": {f"f:{name}": {} for name in labels}}}
    return {"manager": manager, "operation": operation, "fieldsV1": owned}


def test_fields_of_several_appliers_become_one_entry():
    edited = entry("kubectl-edit", "Update", "x")
    theirs = [entry("kubectl-client-side-apply", "Update", "a"), entry("kubectl", "Apply", "b")]
    live = {
        "apiVersion": istio.API,
        "metadata": {"managedFields": [*theirs, edited, entry("plait", "Apply", "c")]},
    }

    ours, *rest = owners.handed_over(live)

    assert (ours["manager"], ours["operation"], ours["apiVersion"]) == ("plait", "Apply", istio.API)
    assert set(ours["fieldsV1"]["f:metadata"]["f:labels"]) == {"f:a", "f:b", "f:c"}
    assert rest == [edited]


def test_nothing_is_handed_over_where_kubectl_applied_nothing():
    status = {**entry("kubectl", "Apply", "a"), "subresource": "status"}
    live = {"apiVersion": istio.API, "metadata": {"managedFields": [status]}}

    assert owners.handed_over(live) == []
    assert owners.handed_over({"apiVersion": istio.API, "metadata": {}}) == []
