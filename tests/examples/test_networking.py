"""Each rule beside bookinfo does what its first line says, in a mesh that runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from examples.bookinfo.check import NETWORKING, Demo
from examples.bookinfo.visitor import BLACK, NO_STARS, RED, Visitor
from tests.support import traffic
from tests.support.machine import directory
from tests.support.netns import needs_root

pytestmark = needs_root
LOADS = 200
_ASK = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(url, timeout=10).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with directory() as top, Demo(top) as found:
        yield found


@contextmanager
def applied(demo: Demo, *names: str) -> Iterator[None]:
    """With these files in force, in this order; afterwards as it was."""
    with ExitStack() as stack:
        for name in names:
            words = ("-f", str(NETWORKING / f"{name}.yaml"), "--wait")
            demo.plait("apply", *words)
            stack.callback(demo.plait, "delete", *words)
        yield


def statuses(demo: Demo, *urls: str) -> list[int]:
    """How productpage's calls end."""
    command = ("exec", "deployment/productpage-v1", "--", "python3", "-c", _ASK)
    return [int(line) for line in demo.plait(*command, *urls).split()]


def stars(demo: Demo, user: str = "", count: int = 20) -> Counter[str]:
    page = Visitor(demo.gateway)
    if user:
        page.sign_in(user)
    return page.loads(count)


def shares(found: Counter[str], **expected: float) -> bool:
    total = found.total()
    wanted = {name.replace("_", " "): share for name, share in expected.items()}
    return set(found) == set(wanted) and all(
        traffic.within_five_sigma(found[name], total, share) for name, share in wanted.items()
    )


def test_there_is_a_test_for_every_file():
    tests = {name for name in globals() if name.startswith("test_")}
    files = {path.stem.replace("-", "_") for path in NETWORKING.glob("*.yaml")}

    assert {f"test_{file}" for file in files} <= tests


def test_destination_rule_all(demo: Demo):
    with applied(demo, "virtual-service-all-v1"):
        without = Visitor(demo.gateway).load().failures
        with applied(demo, "destination-rule-all"):
            said, loaded = demo.plait("status"), Visitor(demo.gateway).load()

    assert "details are unavailable: 503" in without
    assert "PLT2004" not in said
    assert loaded.failures == ()


def test_virtual_service_all_v1(demo: Demo):
    with applied(demo, "destination-rule-all", "virtual-service-all-v1"):
        assert stars(demo) == {NO_STARS: 20}


def test_virtual_service_reviews_test_v2(demo: Demo):
    with applied(demo, "virtual-service-reviews-test-v2"):
        assert stars(demo, user="jason") == {BLACK: 20}
        assert stars(demo, user="anna") == {NO_STARS: 20}
        assert stars(demo) == {NO_STARS: 20}


def test_virtual_service_reviews_90_10(demo: Demo):
    with applied(demo, "virtual-service-reviews-90-10"):
        found = stars(demo, count=LOADS)

    assert shares(found, no_stars=0.9, black_stars=0.1), found


def test_virtual_service_reviews_50_v3(demo: Demo):
    with applied(demo, "virtual-service-reviews-50-v3"):
        found = stars(demo, count=LOADS)

    assert shares(found, no_stars=0.5, red_stars=0.5), found


def test_virtual_service_reviews_v3(demo: Demo):
    with applied(demo, "virtual-service-reviews-v3"):
        assert stars(demo) == {RED: 20}


def test_virtual_service_details_rewrite(demo: Demo):
    urls = ("http://details:9080/book/0", "http://details:9080/details/0")
    before = statuses(demo, *urls)
    with applied(demo, "virtual-service-details-rewrite"):
        after = statuses(demo, *urls)

    assert (before, after) == ([404, 200], [200, 200])


def test_sidecar_registry_only(demo: Demo):
    """The address of a Pod is no host of the mesh."""
    words = ("-l", "version=v3", "-o", "jsonpath={.items[0].status.podIP}")
    reviews = demo.plait("get", "pods", *words)
    urls = (f"http://{reviews}:9080/health", "http://ratings:9080/ratings/0")
    before = statuses(demo, *urls)
    with applied(demo, "sidecar-registry-only"):
        after = statuses(demo, *urls)

    assert (before, after) == ([200, 200], [502, 200])
