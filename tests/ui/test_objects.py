"""The verbs for objects, against a real control plane."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support import istio
from tests.support.api_server import KUBECTL
from tests.support.envoy import eventually
from tests.support.plane import PLAIT, ROOT, Plane

ROUTE = istio.virtual_service("reviews", {"route": [istio.to("reviews", "v1")]})
RULE = istio.rule("reviews", "v1", "v2")
SHORT = ("dr", "gw", "se", "we", "svc", "po", "deploy", "rs", "cm", "sa", "ns", "all")
ENTRY = istio.entry("reviews", [("127.0.30.1", "v1"), ("127.0.30.2", "v2")])


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A control plane without proxies; each test has a namespace of its own in it."""
    with Plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def space(plane: Plane, request: pytest.FixtureRequest) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-60:].strip("-")
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    plane.run("apply", "-f", "-", stdin=json.dumps(document))
    return name


def written(path: Path, *documents: object) -> Path:
    path.write_text("---\n".join(yaml.safe_dump(one, sort_keys=False) for one in documents))
    return path


def without_place(document: dict[str, object]) -> dict[str, object]:
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    return {**document, "metadata": {"name": metadata["name"]}}


def mesh(directory: Path) -> Path:
    """A file with the three objects of reviews, without a namespace."""
    return written(directory / "mesh.yaml", *map(without_place, (ENTRY, RULE, ROUTE)))


def test_apply_says_what_it_did(plane: Plane, space: str, tmp_path: Path):
    path = mesh(tmp_path)

    first = plane.run("apply", "-f", str(path), "-n", space)
    again = plane.run("apply", "-f", str(path), "-n", space)
    path.write_text(path.read_text().replace("subset: v1", "subset: v2"))
    edited = plane.run("apply", "-f", str(path), "-n", space)

    names = ["serviceentry/reviews", "destinationrule/reviews", "virtualservice/reviews"]
    assert [f"{name} created" for name in names] == first.splitlines()
    assert [f"{name} unchanged" for name in names] == again.splitlines()
    assert "virtualservice/reviews configured" in edited
    assert "destinationrule/reviews unchanged" in edited


def test_a_dry_run_changes_nothing(plane: Plane, space: str, tmp_path: Path):
    said = plane.run("apply", "-f", str(mesh(tmp_path)), "-n", space, "--dry-run=server")

    assert "virtualservice/reviews created (server dry run)" in said
    assert "no resources found" in plane.run("get", "vs", "-n", space)


def test_directories_are_read_and_below_only_if_asked(plane: Plane, space: str, tmp_path: Path):
    (tmp_path / "sub").mkdir()
    written(tmp_path / "a.yaml", without_place(RULE))
    written(tmp_path / "sub" / "b.yaml", without_place(ROUTE))

    flat = plane.run("apply", "-f", str(tmp_path), "-n", space, "--dry-run")
    deep = plane.run("apply", "-f", str(tmp_path), "-R", "-n", space, "--dry-run")

    assert (len(flat.splitlines()), len(deep.splitlines())) == (1, 2)


def test_a_problem_is_said_with_its_place_and_keeps_nothing_else_back(
    plane: Plane, space: str, tmp_path: Path
):
    path = tmp_path / "mixed.yaml"
    path.write_text(
        "apiVersion: networking.istio.io/v1\n"
        "kind: VirtualService\n"
        "metadata: {name: bad}\n"
        "spec:\n"
        "  hosts: 7\n"
        "---\n"
        "kind: [broken\n"
        "---\n"
        "apiVersion: networking.istio.io/v1\n"
        "kind: DestinationRule\n"
        "metadata: {name: good}\n"
        "spec:\n"
        "  host: reviews\n"
        "  hosst: reviews\n"
    )

    said = plane.run("apply", "-f", str(path), "-n", space, ok=False)

    assert f"error: {path}:5:3: VirtualService {space}/bad: PLT1005 spec.hosts" in said
    assert f"{path}:8:1: " in said
    assert f"warning: {path}:14:3: DestinationRule {space}/good: PLT1003" in said
    assert "destinationrule/good created" in said


def test_what_is_not_enforced_yet_is_named(plane: Plane, space: str, tmp_path: Path):
    mirrored = istio.virtual_service(
        "mirrored",
        {"route": [istio.to("reviews")], "mirror": {"host": "reviews"}},
    )
    path = written(tmp_path / "m.yaml", without_place(mirrored))

    said = plane.run("apply", "-f", str(path), "-n", space)

    assert said.count("PLT1007") == 1
    assert "mirror" in said


def test_objects_are_shown_in_every_form(plane: Plane, space: str, tmp_path: Path):
    plane.run("apply", "-f", str(mesh(tmp_path)), "-n", space)

    table = plane.run("get", "vs", "-n", space)
    name = plane.run("get", "vs,dr", "-n", space, "-o", "name")
    whole = json.loads(plane.run("get", "vs/reviews", "-n", space, "-o", "json"))
    listed = yaml.safe_load(plane.run("get", "vs", "-n", space, "-o", "yaml"))

    assert re.match(r"NAME +GATEWAYS +HOSTS +AGE\nreviews +", table)
    assert name.splitlines() == [
        "virtualservice.networking.istio.io/reviews",
        "destinationrule.networking.istio.io/reviews",
    ]
    assert (whole["kind"], whole["metadata"]["name"]) == ("VirtualService", "reviews")
    assert ("List", [whole["spec"]]) == (listed["kind"], [one["spec"] for one in listed["items"]])


def test_of_several_names_those_that_are_there_are_shown(plane: Plane, space: str, tmp_path: Path):
    plane.run("apply", "-f", str(mesh(tmp_path)), "-n", space)

    for form in ("table", "name", "yaml", "jsonpath={.items[*].metadata.name}{'\\n'}"):
        said = plane.run("get", "vs", "reviews", "nobody", "-n", space, "-o", form, ok=False)

        assert "reviews" in said.partition("error: ")[0]
        assert said.endswith('error: virtualservices.networking.istio.io "nobody" not found\n')


@pytest.mark.parametrize(
    "word", ["vs", "virtualservices", "VirtualService", "vs.networking.istio.io"]
)
def test_a_kind_has_many_names(plane: Plane, space: str, word: str):
    assert "no resources found in namespace" in plane.run("get", word, "-n", space)


@pytest.mark.parametrize("word", SHORT)
def test_every_short_name_is_known(plane: Plane, word: str):
    plane.run("get", word, "-A")


def test_an_unknown_kind_is_an_error_that_lists_the_known(plane: Plane):
    said = plane.run("get", "nonsense", ok=False)

    assert said.startswith('error: there is no kind "nonsense"; known are: configmaps, ')


def test_labels_select(plane: Plane, space: str, tmp_path: Path):
    marked = without_place(RULE)
    marked["metadata"] = {"name": "marked", "labels": {"team": "a"}}
    plane.run("apply", "-f", str(written(tmp_path / "d.yaml", marked)), "-n", space)

    hit = plane.run("get", "dr", "-n", space, "-l", "team=a", "-o", "name")
    miss = plane.run("get", "dr", "-n", space, "-l", "team!=a", "-o", "name")

    assert hit == "destinationrule.networking.istio.io/marked\n"
    assert miss == ""


@pytest.mark.parametrize(
    "template",
    [
        "{.items[*].metadata.name}",
        "{.items[0].spec.hosts}",
        "{range .items[*]}{.metadata.name}{'\\t'}{.spec.hosts[0]}{'\\n'}{end}",
        '{.items[?(@.metadata.name=="reviews")].spec.http[0].route[*].destination.subset}',
        "{.items[0].spec.http}",
        "{..destination.host}",
        "{.items[*]['kind','apiVersion']}",
        "{.items[0].metadata.name} and {.items[0].nothing}",
    ],
)
def test_a_jsonpath_prints_what_kubectl_prints(
    plane: Plane, space: str, tmp_path: Path, template: str
):
    plane.run("apply", "-f", str(mesh(tmp_path)), "-n", space)
    command = [str(KUBECTL), "--server", f"http://{plane.api}", "get", "vs", "-n", space]

    done = subprocess.run(
        [*command, "-o", f"jsonpath={template}"],
        env={**plane.environment, "KUBECONFIG": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == plane.run("get", "vs", "-n", space, "-o", f"jsonpath={template}")


def test_a_watch_follows_changes_until_it_is_interrupted(plane: Plane, space: str, tmp_path: Path):
    plane.run("apply", "-f", str(mesh(tmp_path)), "-n", space)
    out = tmp_path / "out"
    with out.open("wb") as file:
        watch = subprocess.Popen(
            [*PLAIT, "get", "vs", "-A", "-w"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=plane.environment,
            cwd=ROOT,
        )
    try:
        eventually(lambda: space in out.read_text(), 15)
        other = istio.virtual_service("later", {"route": [istio.to("reviews")]})
        written(tmp_path / "mesh.yaml", without_place(other))
        plane.run("apply", "-f", str(tmp_path / "mesh.yaml"), "-n", space)
        eventually(lambda: "later" in out.read_text(), 15)
    finally:
        os.kill(watch.pid, signal.SIGINT)

    assert watch.wait(10) == 130
    assert out.read_text().count("NAMESPACE") == 1
    assert "Traceback" not in out.read_text()


def test_describe_shows_conditions_and_findings_with_their_place(
    plane: Plane, space: str, tmp_path: Path
):
    route = istio.virtual_service("lost", {"route": [istio.to("reviews", "v9")]})
    path = written(tmp_path / "d.yaml", *map(without_place, (ENTRY, RULE, route)))
    plane.run("apply", "-f", str(path), "-n", space)

    said = plane.run("describe", "vs", "-n", space)

    assert said.startswith(f"VirtualService {space}/lost  (networking.istio.io/v1)\nrevision ")
    assert re.search(r"^  Resolved +False +PLT2004|^  Resolved +False ", said, re.MULTILINE)
    assert re.search(r"^  error .*PLT200[14] spec.http\[0\]", said, re.MULTILINE)


def test_delete_names_what_it_deleted_and_what_was_not_there(
    plane: Plane, space: str, tmp_path: Path
):
    path = mesh(tmp_path)
    plane.run("apply", "-f", str(path), "-n", space)

    first = plane.run("delete", "vs/reviews", "-n", space)
    missing = plane.run("delete", "vs", "reviews", "-n", space, ok=False)
    rest = plane.run("delete", "-f", str(path), "-n", space, "--ignore-not-found")

    assert first == 'virtualservice.networking.istio.io "reviews" deleted\n'
    assert missing.startswith("error: ")
    assert "not found" in missing
    assert rest.count("deleted") == 2


def test_a_document_without_a_name_keeps_no_other_from_being_deleted(
    plane: Plane, space: str, tmp_path: Path
):
    path = written(tmp_path / "d.yaml", {**RULE, "metadata": {}}, without_place(ROUTE))
    plane.run("apply", "-f", str(path), "-n", space, ok=False)

    said = plane.run("delete", "-f", str(path), "-n", space, ok=False)

    assert 'virtualservice.networking.istio.io "reviews" deleted' in said
    assert f"error: {path}:1: the object has no name" in said


@pytest.mark.parametrize("wait", [("--wait",), ("--wait", "5"), ("--wait=5",)])
def test_what_follows_wait_is_its_value_only_if_it_is_a_number(
    plane: Plane, space: str, tmp_path: Path, wait: tuple[str, ...]
):
    plane.run("apply", "-f", str(mesh(tmp_path)), "-n", space)

    said = plane.run("delete", *wait, "vs/reviews", "-n", space)

    assert said.splitlines() == [
        'virtualservice.networking.istio.io "reviews" deleted',
        "no proxy is connected: it takes effect when one is",
    ]


def test_a_name_in_all_namespaces_is_a_wrong_command_line(plane: Plane):
    assert "a name means one namespace" in plane.run("get", "vs/reviews", "-A", ok=False)


def test_the_same_warning_is_said_once(plane: Plane, tmp_path: Path):
    path = written(tmp_path / "d.yaml", without_place(RULE), without_place(ROUTE))

    said = plane.run("apply", "-f", str(path), "-n", "undeclared")

    assert said.count("has no Namespace object") == 1


def test_the_last_of_two_versions_in_a_file_counts(plane: Plane, space: str, tmp_path: Path):
    newer = istio.virtual_service("reviews", {"route": [istio.to("reviews", "v2")]})
    path = written(tmp_path / "d.yaml", without_place(ROUTE), without_place(newer))

    said = plane.run("apply", "-f", str(path), "-n", space)

    assert said.splitlines() == [
        "virtualservice/reviews created",
        "virtualservice/reviews configured",
    ]
    form = "jsonpath={.spec.http[0].route[0].destination.subset}"
    assert plane.run("get", "vs/reviews", "-n", space, "-o", form) == "v2"


def test_kubectl_and_plait_change_one_object(plane: Plane, space: str, tmp_path: Path):
    path = mesh(tmp_path)
    plane.run("apply", "-f", str(path), "-n", space)
    command = [str(KUBECTL), "--server", f"http://{plane.api}", "-n", space]

    path.write_text(path.read_text().replace("subset: v1", "subset: v2"))
    done = subprocess.run(
        [*command, "apply", "--server-side", "--force-conflicts", "-f", str(path)],
        env={**plane.environment, "KUBECONFIG": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "virtualservice/reviews unchanged" in plane.run("apply", "-f", str(path), "-n", space)


@pytest.mark.parametrize("command", [("status", "-w"), ("get", "vs", "-w")])
def test_a_watch_says_when_the_control_plane_ended_it(tmp_path: Path, command: tuple[str, ...]):
    out = tmp_path / "out"
    with Plane(tmp_path) as plane:
        plane.apply(ROUTE, wait=False)
        with out.open("wb") as file:
            watch = subprocess.Popen(
                [*PLAIT, *command], stdout=file, stderr=file, env=plane.environment, cwd=ROOT
            )
        eventually(lambda: "reviews" in out.read_text(), 15)

    assert watch.wait(10) == 1
    assert out.read_text().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in out.read_text()
