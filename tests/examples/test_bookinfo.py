"""Bookinfo: the story of the demo, and its services one by one."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.bookinfo import check, demo
from examples.bookinfo.services import details, productpage, ratings, reviews, server
from examples.bookinfo.services.productpage import Peers
from examples.bookinfo.services.server import Answering, Reply, Request, Service
from examples.bookinfo.visitor import BLACK, FAILED, NO_STARS, RED, Visitor
from tests.support.machine import directory
from tests.support.netns import needs_root

BOOKINFO = Path(demo.__file__).parent
NOBODY = "http://127.0.0.1:1"
TRACE = {
    "x-request-id": "one",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "x-b3-traceid": "463ac35c9f6413ad48485a3953bb6124",
    "user-agent": "a browser",
}


@contextlib.contextmanager
def running(answering: Answering) -> Iterator[str]:
    """A service on a free port; yields ``HOST:PORT``."""
    with server.server(answering, "127.0.0.1", 0) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


class Recorder:
    """A service that notes what it is asked."""

    def __init__(self, answering: Answering) -> None:
        self.asked: list[Request] = []
        self._answering = answering

    def __call__(self, request: Request) -> Reply:
        self.asked.append(request)
        return self._answering(request)


def ask(
    address: str, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def reviews_of(version: str, stars: str = NOBODY) -> Answering:
    return partial(reviews.answer, Service(f"reviews-{version}", version), stars)


def ratings_v1() -> Answering:
    return partial(ratings.answer, Service("ratings-v1", "v1"))


def details_v1() -> Answering:
    return partial(details.answer, Service("details-v1", "v1"))


def page_with(details: str = NOBODY, reviews: str = NOBODY) -> Answering:
    peers = Peers(details=details, reviews=reviews, ratings=NOBODY)
    return partial(productpage.answer, Service("productpage-v1", "v1"), peers)


def documents(directory: str) -> list[dict[str, Any]]:
    files = sorted((BOOKINFO / directory).glob("*.yaml"))
    return [found for file in files for found in yaml.safe_load_all(file.read_text())]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


@needs_root
def test_the_demo_starts_obeys_every_way_of_changing_it_and_leaves_nothing():
    said: list[str] = []

    check.story(said.append)

    assert [line for line in said if not line.startswith("ok  ")] == []
    assert len(said) == 9


@needs_root
def test_a_demo_that_does_not_start_says_how_to_end_it():
    with directory() as top, socket.socket() as taken:
        with contextlib.suppress(OSError):  # then somebody else has it
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        environment = {**os.environ, "PLAIT_DATA": str(top / "data")}

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "examples.bookinfo.demo", *words],
                capture_output=True,
                text=True,
                env=environment,
                cwd=demo.ROOT,
                timeout=180,
                check=False,
            )

        try:
            started = run()
        finally:
            stopped = run("stop")
        left = (top / "data").exists()

    assert started.returncode == 1
    assert "127.0.0.1:8080" in started.stderr
    assert started.stderr.endswith(f"with: {demo.ROOT}/scripts/demo stop\n")
    assert stopped.stdout == "stopped; nothing is left\n"
    assert not left


def test_the_mesh_has_the_names_that_istio_gives_bookinfo():
    found = documents("mesh")
    names = {(one["kind"], one["metadata"]["name"]) for one in found}
    services = {"productpage", "details", "reviews", "ratings"}
    versions = {f"{name}-v1" for name in services} | {"reviews-v2", "reviews-v3"}

    assert {("Gateway", "bookinfo-gateway"), ("VirtualService", "bookinfo")} <= names
    assert {name for kind, name in names if kind == "Service"} == services
    assert {name for kind, name in names if kind == "Deployment"} == versions
    assert {name for kind, name in names if kind == "ServiceAccount"} == {
        f"bookinfo-{name}" for name in services
    }


def test_every_image_of_the_mesh_is_mapped_to_a_program_that_is_there():
    mapped = tomllib.loads((demo.MESH / "images.toml").read_text())["images"]
    images = {
        container["image"].rpartition("/")[2].partition(":")[0]
        for one in documents("mesh")
        if one["kind"] == "Deployment"
        for container in one["spec"]["template"]["spec"]["containers"]
    }

    assert images == set(mapped)
    assert {(demo.MESH / one["directory"]).resolve() for one in mapped.values()} == {demo.ROOT}


def test_rules_name_only_subsets_that_the_destination_rules_define():
    found = documents("networking")
    rules = [one for one in found if one["kind"] == "DestinationRule"]
    defined = {(one["spec"]["host"], s["name"]) for one in rules for s in one["spec"]["subsets"]}
    used = {
        (to["destination"]["host"], to["destination"]["subset"])
        for one in found
        if one["kind"] == "VirtualService"
        for route in one["spec"]["http"]
        for to in route["route"]
        if "subset" in to["destination"]
    }

    assert used <= defined


@pytest.mark.parametrize(
    ("version", "shown"), [("v1", NO_STARS), ("v2", BLACK), ("v3", RED)], ids=["v1", "v2", "v3"]
)
def test_each_version_of_reviews_has_its_stars(version: str, shown: str):
    with (
        running(ratings_v1()) as stars,
        running(reviews_of(version, f"http://{stars}")) as said,
        running(details_v1()) as facts,
        running(page_with(f"http://{facts}", f"http://{said}")) as page,
    ):
        seen = Visitor(page).load()

    assert (200, shown, ()) == seen


def test_the_page_says_who_answered():
    with (
        running(ratings_v1()) as stars,
        running(reviews_of("v3", f"http://{stars}")) as said,
        running(page_with(reviews=f"http://{said}")) as page,
    ):
        body = ask(page, "/productpage")[1]

    for name in ("productpage-v1", "reviews-v3", "ratings-v1"):
        assert f">{name}</li>" in body
    assert '<li class="bad" data-service="details">503</li>' in body


def test_the_page_names_what_failed_and_shows_the_rest():
    with (
        running(reviews_of("v2")) as said,
        running(page_with(reviews=f"http://{said}")) as page,
    ):
        seen = Visitor(page).load()

    failed = ("details are unavailable: 503", *["ratings are unavailable: 503"] * 2)
    assert (200, NO_STARS, failed) == seen


def test_the_page_is_there_when_nobody_else_is():
    with running(page_with()) as page:
        seen = Visitor(page).load()

    failed = ("details are unavailable: 503", "reviews are unavailable: 503")
    assert (200, FAILED, failed) == seen


def test_headers_of_a_story_reach_the_last_service():
    stars = Recorder(ratings_v1())
    with (
        running(stars) as last,
        running(reviews_of("v2", f"http://{last}")) as said,
        running(page_with(reviews=f"http://{said}")) as page,
    ):
        ask(page, "/productpage", {**TRACE, "cookie": "user=jason", "x-other": "no"})

    (request,) = stars.asked
    got = {name: request.headers[name] for name in (*TRACE, "end-user", "x-other")}
    assert got == {**TRACE, "end-user": "jason", "x-other": None}


def test_who_signs_in_is_the_end_user_until_signing_out():
    said = Recorder(reviews_of("v1"))
    with running(said) as stars, running(page_with(reviews=f"http://{stars}")) as page:
        visitor = Visitor(page)
        visitor.load()
        visitor.sign_in("jason")
        visitor.load()
        greeting = ask(page, "/productpage", {"cookie": "user=jason"})[1]
        left = ask(page, "/logout")

    assert [one.headers["end-user"] for one in said.asked] == [None, "jason", "jason"]
    assert "Signed in as <b>jason</b>" in greeting
    assert left == (303, "")


def test_nobody_becomes_another_user_by_a_header_or_injects_one_by_a_name():
    said = Recorder(reviews_of("v1"))
    with running(said) as stars, running(page_with(reviews=f"http://{stars}")) as page:
        ask(page, "/productpage", {"end-user": "jason"})
        body = ask(page, "/productpage", {"cookie": "user=%3Cb%3Ea%0D%0Ax-evil%3A1"})[1]

    assert [one.headers["end-user"] for one in said.asked] == [None, "bax-evil1"]
    assert all(one.headers["x-evil"] is None for one in said.asked)
    assert "<b>a" not in body


def test_answers_keep_the_connection_and_have_a_length():
    with running(details_v1()) as facts:
        connection = http.client.HTTPConnection(facts, timeout=10)
        statuses = []
        for method, path in (("GET", "/details/0"), ("HEAD", "/details/0"), ("POST", "/nowhere")):
            connection.request(method, path, body=b"x" * 70_000 if method == "POST" else None)
            response = connection.getresponse()
            response.read()
            statuses.append((response.status, response.version, response.will_close))
        connection.close()

    assert statuses == [(200, 11, False), (200, 11, False), (404, 11, False)]


def test_the_api_passes_on_what_the_others_say():
    with running(details_v1()) as facts, running(page_with(f"http://{facts}")) as page:
        found = [ask(page, f"/api/v1/products{path}")[0] for path in ("", "/0", "/0/reviews", "/9")]

    assert found == [200, 200, 503, 404]
