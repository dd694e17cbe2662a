"""What one proxy last accepted: kept in a file, and served as topics."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from plait.agent.cache import Cache, Shelves, resource
from plait.xds import protos
from plait.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource
from plait.xds.stream import Send, Stream
from plait.xds.wire import Request

_OTHER = msgspec.msgpack.encode({"format": 1, "types": {}})


def made(type_url: str, name: str, version: str = "1") -> Resource:
    message: Any = protos.RouteConfiguration(name=name)
    if type_url == CLUSTER:
        message = protos.Cluster(name=name, type=protos.Cluster.EDS)
    return resource(type_url, name, version, protos.encode(message))


def opened(path: Path) -> Cache:
    return Cache(path, path.with_name("cache.key"))


def cache_of(path: Path, *resources: Resource) -> Cache:
    cache = opened(path)
    for one in resources:
        cache.accept(one.type_url, [one], [])
    return cache


def sent(stream: Stream, request: Request) -> list[tuple[str, list[str], list[str]]]:
    """Type, names and removed names of what is answered."""
    found = []
    for action in stream.on_request(request, 0.0):
        if not isinstance(action, Send):
            continue
        message = protos.DeltaDiscoveryResponse.FromString(action.data)
        names = [one.name for one in message.resources]
        found.append((action.type_url, names, list(message.removed_resources)))
    return found


def test_what_is_accepted_is_read_again_from_the_file(tmp_path: Path):
    path = tmp_path / "cache"
    cache = cache_of(path, made(CLUSTER, "a"), made(ROUTES, "80", "2"))
    cache.accept(LISTENER, [], [])

    cache.flush()
    again = opened(path)

    for type_url in (CLUSTER, ROUTES, LISTENER, ENDPOINTS):
        assert again.known(type_url) == cache.known(type_url)
    modes = {one.name: oct(one.stat().st_mode & 0o777) for one in tmp_path.iterdir()}
    assert modes == {"cache": "0o600", "cache.key": "0o600"}


def test_the_file_says_nothing_to_who_lacks_its_key(tmp_path: Path):
    path = tmp_path / "cache"
    cache_of(path, made(ROUTES, "name-of-a-table")).flush()

    content = path.read_bytes()
    (tmp_path / "cache.key").unlink()
    with capture_logs() as lines:
        without = opened(path)

    assert b"name-of-a-table" not in content
    assert len(without) == 0
    assert [one["event"] for one in lines] == ["cache ignored"]


def test_the_newest_is_kept_and_what_was_removed_is_not(tmp_path: Path):
    cache = cache_of(tmp_path / "cache", made(ROUTES, "80"), made(ROUTES, "81"))

    cache.accept(ROUTES, [made(ROUTES, "80", "2")], ["81", "unknown"])

    assert {n: r.version for n, r in (cache.known(ROUTES) or {}).items()} == {"80": "2"}


@pytest.mark.parametrize("content", [b"", b"damaged", _OTHER])
def test_a_file_that_cannot_be_read_is_ignored_in_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "cache"
    path.write_bytes(content)

    with capture_logs() as lines:
        cache = opened(path)

    assert len(cache) == 0
    assert [one["event"] for one in lines] == ["cache ignored"]


def test_a_change_is_written_while_it_runs(tmp_path: Path):
    path = tmp_path / "cache"

    async def story() -> None:
        cache = opened(path)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            task = group.create_task(cache.run())
            cache.accept(ROUTES, [made(ROUTES, "80")], [])
            while not opened(path).known(ROUTES):  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
            task.cancel()

    asyncio.run(story())


def test_what_is_accepted_while_the_file_is_written_spoils_nothing(tmp_path: Path):
    class Met:
        """A resource at whose turn the loop accepts another one, and another type."""

        name, body = "a", b""

        @property
        def version(self) -> str:
            cache.accept(ROUTES, [made(ROUTES, "b")], [])
            cache.accept(LISTENER, [made(LISTENER, "l")], [])
            return "1"

    cache = opened(tmp_path / "cache")
    met: Any = Met()
    cache.accept(ROUTES, [met], [])

    cache.flush()

    assert set(opened(tmp_path / "cache").known(ROUTES) or ()) == {"a"}
    cache.forget(ROUTES, ["a"])
    cache.flush()
    assert set(opened(tmp_path / "cache").known(ROUTES) or ()) == {"b"}


def test_a_directory_that_is_gone_is_told_once_and_harms_nothing(tmp_path: Path):
    cache = cache_of(tmp_path / "gone" / "cache", made(ROUTES, "80"))

    with capture_logs() as lines:
        cache.flush()
        cache.accept(ROUTES, [made(ROUTES, "81")], [])
        cache.flush()

    assert [one["event"] for one in lines] == ["cache not written"]
    assert set(cache.known(ROUTES) or {}) == {"80", "81"}


def test_a_link_in_the_proxys_directory_is_not_followed(tmp_path: Path):
    other = tmp_path / "other"
    other.write_text("untouched")
    (tmp_path / ".cache.new").symlink_to(other)

    cache_of(tmp_path / "cache", made(ROUTES, "80")).flush()

    assert other.read_text() == "untouched"
    assert opened(tmp_path / "cache").known(ROUTES)


def test_a_starting_proxy_is_spared_clusters_whose_endpoints_would_never_come(tmp_path: Path):
    cache = cache_of(
        tmp_path / "cache", made(CLUSTER, "a"), made(CLUSTER, "b"), made(ENDPOINTS, "a")
    )
    stream = Stream(Shelves(cache), delta=True)

    assert sent(stream, Request(type_url=CLUSTER)) == [(CLUSTER, ["a"], [])]


def test_names_that_the_cache_does_not_know_are_never_called_gone(tmp_path: Path):
    cache = cache_of(tmp_path / "cache", made(ENDPOINTS, "a"), made(ENDPOINTS, "b"))
    stream = Stream(Shelves(cache), delta=True)

    first = Request(type_url=ENDPOINTS, names=frozenset({"a", "x"}), initial={"x": "1"})
    more = Request(type_url=ENDPOINTS, names=frozenset({"b", "y"}), nonce="1")

    assert sent(stream, first) == [(ENDPOINTS, ["a"], [])]
    assert sent(stream, more) == [(ENDPOINTS, ["b"], [])]


def test_nothing_is_answered_of_a_type_of_which_nothing_was_ever_accepted(tmp_path: Path):
    stream = Stream(Shelves(opened(tmp_path / "cache")), delta=True)

    assert sent(stream, Request(type_url=CLUSTER)) == []


def test_a_type_of_which_there_is_nothing_is_answered_as_empty(tmp_path: Path):
    cache = opened(tmp_path / "cache")
    cache.accept(CLUSTER, [], [])
    stream = Stream(Shelves(cache), delta=True)

    assert sent(stream, Request(type_url=CLUSTER)) == [(CLUSTER, [], [])]
