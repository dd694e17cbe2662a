"""A watch of the CLI goes on over connections, and says nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import click
import pytest

from plait.ui.cli import watching
from plait.ui.cli.client import AwayError, Client
from tests.support import istio
from tests.support.envoy import eventually
from tests.support.plane import PLAIT, ROOT, Plane

MARK = {"k8s.io/initial-events-end": "true"}
Event = dict[str, Any]
EXPIRED = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}


def told(kind: str, name: str, revision: int) -> Event:
    metadata = {"name": name, "namespace": "demo", "resourceVersion": str(revision)}
    return {"type": kind, "object": {"metadata": metadata}}


def bookmark(revision: int, annotations: Mapping[str, str] = {}) -> Event:
    metadata = {"resourceVersion": str(revision), "annotations": annotations}
    return {"type": "BOOKMARK", "object": {"metadata": metadata}}


class Scripted:
    """An API whose connections say one after the other what is written down."""

    def __init__(self, *connections: list[Event] | Exception) -> None:
        self._connections = iter(connections)
        self.asked: list[str] = []

    def follow(self, path: str, query: Mapping[str, str], headers: Any) -> Iterator[Event]:
        del path, headers
        self.asked.append(query.get("resourceVersion", "all"))
        match next(self._connections, AwayError("nobody")):
            case list() as events:
                yield from events
            case error:
                raise error


def heard(api: Scripted, *, away: float = 0) -> list[str]:
    """Names and revisions of what is told until the API is away for too long."""
    bodies = watching.changes(cast("Client", api), "/x", {}, away=away)
    said = (f"{one['metadata']['name']}@{one['metadata']['resourceVersion']}" for one in bodies)
    found: list[str] = []
    with pytest.raises(click.ClickException):
        found.extend(said)
    return found


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_RETRY", 0)


def test_a_connection_that_ends_is_followed_by_one_from_the_last_revision():
    first = [told("ADDED", "a", 3), bookmark(5, MARK), told("MODIFIED", "a", 6)]
    api = Scripted(first, [told("ADDED", "b", 7)])

    assert heard(api) == ["a@3", "a@6", "b@7"]
    assert api.asked == ["all", "6", "7"]


def test_bookmarks_move_the_place_on_when_nothing_changes():
    api = Scripted([bookmark(5, MARK), bookmark(9)], [])

    assert heard(api) == []
    assert api.asked == ["all", "9", "9"]


@pytest.mark.parametrize(
    "refusal",
    [
        EXPIRED,
        {
            "type": "ERROR",
            "object": {
                "code": 504,
                "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]},
            },
        },
    ],
)
def test_where_changes_are_no_longer_kept_all_is_compared(refusal: Event):
    first = [told("ADDED", "a", 3), told("ADDED", "b", 4), bookmark(5, MARK)]
    again = [told("ADDED", "a", 3), told("ADDED", "c", 8), bookmark(9, MARK)]
    api = Scripted(first, [refusal], again)

    assert heard(api) == ["a@3", "b@4", "c@8", "b@4"]
    assert api.asked == ["all", "5", "all", "9"]


def test_a_beginning_that_is_cut_off_is_begun_again():
    api = Scripted([told("ADDED", "a", 3)], [told("ADDED", "a", 3), bookmark(5, MARK)])

    assert heard(api) == ["a@3"]
    assert api.asked[:2] == ["all", "all"]


def test_an_error_that_cannot_be_helped_ends_the_watch_with_its_words():
    api = Scripted([bookmark(5, MARK), {"type": "ERROR", "object": {"message": "no more"}}])

    with pytest.raises(click.ClickException, match="no more"):
        list(watching.changes(cast("Client", api), "/x", {}))


def test_nobody_there_at_first_is_said_at_once():
    api = Scripted()

    assert heard(api, away=60) == []
    assert len(api.asked) == 1


def test_a_watch_goes_on_over_a_restart_of_the_control_plane(tmp_path: Path):
    def route(name: str) -> dict[str, Any]:
        return istio.virtual_service(name, {"route": [istio.to("reviews")]})

    out = tmp_path / "out"
    with Plane(tmp_path) as plane:
        plane.apply(route("first"), wait=False)
        with out.open("wb") as file:
            watch = subprocess.Popen(
                [*PLAIT, "get", "vs", "-w"],
                stdout=file,
                stderr=file,
                env=plane.environment,
                cwd=ROOT,
            )
        try:
            eventually(lambda: "first" in out.read_text(), 15)
            plane.stop(signal.SIGKILL)
            plane.start()
            plane.apply(route("second"), wait=False)
            eventually(lambda: "second" in out.read_text(), 15)
        finally:
            os.kill(watch.pid, signal.SIGINT)

    assert watch.wait(10) == 130
    names = [line.split()[0] for line in out.read_text().splitlines() if line]
    assert names == ["NAME", "first", "second"]
