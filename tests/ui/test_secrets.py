"""A planted secret, searched for in everything that a control plane writes or says of it."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import KUBECTL
from tests.support.plane import Plane

CANARY = "canary-9b2e-do-not-tell"
ENCODED = base64.b64encode(CANARY.encode()).decode()


def secret(name: str, **body: Any) -> dict[str, Any]:
    head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    return {**head, "type": "Opaque", **body}


GOOD = secret("good", stringData={"token": CANARY}, data={"again": ENCODED})
BROKEN = (
    secret("broken", data={"token": CANARY}),
    secret("broken", data=CANARY),
    secret("broken", stringData={"token": {"deep": CANARY}}),
    secret("broken", type="kubernetes.io/tls", stringData={"token": CANARY}),
)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    directory = tmp_path_factory.mktemp("plane")
    files = directory / "files"
    files.mkdir()
    (files / "a.yaml").write_text(json.dumps(secret("of-a-file", stringData={"t": CANARY})))
    (files / "b.yaml").write_text(json.dumps(secret("torn", data={"t": CANARY})))
    (files / "c.yaml").write_text(f"kind: Secret\nstringData:\n  t: *{CANARY}\n")
    with Plane(directory, "--log-level", "debug", files=files) as running:
        yield running


def kubectl(plane: Plane, *arguments: str, stdin: str = "") -> str:
    """What kubectl says, on both streams."""
    home = plane.directory
    done = subprocess.run(
        [str(KUBECTL), "--server", f"http://{plane.api}", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env={"HOME": str(home), "KUBECACHEDIR": str(home / "cache"), "PATH": "/usr/bin:/bin"},
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def forms(value: str) -> list[bytes]:
    raw = value.encode()
    inner = [base64.b64encode(b"x" * shift + raw)[4:-4] for shift in (1, 2)]
    return [raw, raw.hex().encode(), base64.b64encode(raw)[:-4], *inner]


def leaks(plane: Plane) -> list[str]:
    """Files below the data directory, and logs, that hold the canary."""
    files = [plane.log, *(path for path in plane.data.rglob("*") if path.is_file())]
    assert len(files) > 3
    return [str(f) for f in files if any(form in f.read_bytes() for form in forms(CANARY))]


def test_a_secret_is_in_no_file_log_table_or_error(plane: Plane):
    applied = [plane.apply(GOOD, wait=False), kubectl(plane, "apply", "-f", "-", stdin=text(GOOD))]
    broken = [
        said
        for document in BROKEN
        for said in (
            plane.run("apply", "-f", "-", stdin=text(document), ok=False),
            kubectl(plane, "apply", "-f", "-", stdin=text(document)),
            kubectl(plane, "apply", "--server-side", "-f", "-", stdin=text(document)),
        )
    ]
    shown = [
        plane.run("get", "secrets"),
        plane.run("describe", "secret", "good"),
        plane.run("status"),
        plane.run("status", "-o", "json"),
        kubectl(plane, "get", "secrets", "-o", "wide"),
        kubectl(plane, "describe", "secret", "good"),
        json.dumps(plane.get("/plait/v1/status")),
    ]
    plane.stop()
    plane.start()
    shown.append(plane.run("describe", "secrets", ok=False))

    said = [*applied, *broken, *shown]
    assert [one for one in said if any(form.decode() in one for form in forms(CANARY))] == []
    assert "Opaque   2" in shown[4]
    assert all("broken" in one for one in broken)
    assert leaks(plane) == []


def test_who_may_read_a_secret_is_given_its_values(plane: Plane):
    plane.apply(GOOD, wait=False)

    read = json.loads(plane.run("get", "secret", "good", "-o", "json"))

    assert read["data"] == {"again": ENCODED, "token": ENCODED}
    assert "stringData" not in read


def test_kubectl_makes_secrets_of_literals_and_files(plane: Plane, tmp_path: Path):
    kubectl(plane, "create", "secret", "generic", "made", f"--from-literal=token={CANARY}")

    read = json.loads(kubectl(plane, "get", "secret", "made", "-o", "json"))

    assert read["data"] == {"token": ENCODED}
    assert leaks(plane) == []


def text(document: dict[str, Any]) -> str:
    return json.dumps(document)


def test_a_secret_without_its_key_is_named_and_only_written_anew(tmp_path: Path):
    plane = Plane(tmp_path)
    with plane:
        kubectl(plane, "apply", "-f", "-", stdin=text(GOOD))
    (plane.data / "secrets.key").rename(tmp_path / "lost")

    with plane:
        said = plane.run("describe", "secret", "good")
        labelled = kubectl(plane, "label", "secret", "good", "a=b")
        applied = kubectl(plane, "apply", "-f", "-", stdin=text(GOOD))
        read = json.loads(plane.run("get", "secret", "good", "-o", "json"))

    assert "PLT1011" in said
    assert "the Secret cannot be opened: write its data anew, or delete it" in labelled
    assert "secret/good configured" in applied
    assert read["data"] == {"again": ENCODED, "token": ENCODED}
    assert "sealed" not in read
    assert leaks(plane) == []


def test_an_immutable_secret_is_not_changed(plane: Plane):
    fixed = secret("fixed", stringData={"token": CANARY}, immutable=True)
    plane.apply(fixed, wait=False)

    changed = {**fixed, "stringData": {"token": "other"}}
    said = plane.run("apply", "-f", "-", stdin=text(changed), ok=False)

    assert "data: Forbidden: field is immutable when `immutable` is set" in said
    assert json.loads(plane.run("get", "secret", "fixed", "-o", "json"))["data"] == {
        "token": ENCODED
    }
