"""Lists that take long to make, and who else wants something meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from plait.config.meta import Key
from plait.config.ports import Condition
from plait.serve.api import turns
from plait.serve.api.forms import META
from plait.serve.api.pages import NoPages
from tests.support.api_server import PATIENCE, Api, api, until

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
COUNT = 12
TABLE = f"application/json;as=Table;v=v1;g={META.partition('/')[0]}"
PARTIAL = f"application/json;as=PartialObjectMetadataList;v=v1;g={META.partition('/')[0]}"


class Slow(NoPages):
    """Conditions that use up a turn of the loop each, and note in how-manieth they were asked."""

    def __init__(self) -> None:
        self.turn = 0
        self.asked: list[int] = []

    def conditions(self, key: Key) -> tuple[Condition, ...]:
        time.sleep(turns.TURN)
        self.asked.append(self.turn)
        return ()

    async def count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


def name(number: int) -> str:
    return f"c{number:02}"


async def make(server: Api, number: int) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name(number)}}
    assert (await server.request("POST", CONFIG_MAPS, body)).code == 201


def played(home: Path, story: Callable[[Api, Slow], Awaitable[None]]) -> None:
    async def main() -> None:
        pages = Slow()
        async with api(home, pages=pages) as server:
            for number in range(COUNT):
                await make(server, number)
            async with asyncio.TaskGroup() as group:
                counting = group.create_task(pages.count())
                pages.asked.clear()
                await story(server, pages)
                counting.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("accept", ["application/json", TABLE, PARTIAL])
def test_others_have_their_turn_while_a_list_is_made(tmp_path: Path, accept: str) -> None:
    async def story(server: Api, pages: Slow) -> None:
        found = (await server.request("GET", CONFIG_MAPS, Accept=accept)).json

        assert len(found.get("items") or found["rows"]) == COUNT
        assert len(set(pages.asked)) == COUNT

    played(tmp_path, story)


async def lines(server: Api, query: str, *, until: str) -> list[dict[str, Any]]:
    """The lines of a watch up to the first that has a text in it."""
    found = []
    async with server.session.get(f"{server.url}{CONFIG_MAPS}?watch=1&{query}") as answer:
        async with asyncio.timeout(PATIENCE):
            async for line in answer.content:
                found.append(json.loads(line))
                if until in line.decode():
                    break
    return found


INITIAL = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


def test_others_have_their_turn_while_a_watch_begins(tmp_path: Path) -> None:
    async def story(server: Api, pages: Slow) -> None:
        found = await lines(server, INITIAL, until="initial-events-end")

        assert [line["type"] for line in found] == ["ADDED"] * COUNT + ["BOOKMARK"]
        assert len(set(pages.asked)) >= COUNT

    played(tmp_path, story)


def test_a_list_is_of_the_revision_at_which_it_was_begun(tmp_path: Path) -> None:
    async def story(server: Api, pages: Slow) -> None:
        before = server.store.revision
        async with asyncio.TaskGroup() as group:
            listing = group.create_task(server.request("GET", CONFIG_MAPS))
            await until(lambda: pages.asked, "the list is begun")
            await make(server, COUNT)
        found = listing.result().json
        since = found["metadata"]["resourceVersion"]
        news = await lines(server, f"resourceVersion={since}", until=f'"{name(COUNT)}"')

        assert since == str(before)
        assert len(found["items"]) == COUNT
        assert [line["type"] for line in news] == ["ADDED"]

    played(tmp_path, story)


def test_a_watch_that_begins_tells_of_what_comes_meanwhile_once(tmp_path: Path) -> None:
    async def story(server: Api, pages: Slow) -> None:
        before = server.store.revision
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(lines(server, INITIAL, until=f'"{name(COUNT)}"'))
            await until(lambda: pages.asked, "the watch is begun")
            await make(server, COUNT)
        *_, mark, last = watching.result()

        assert len(watching.result()) == COUNT + 2
        assert mark["object"]["metadata"]["resourceVersion"] == str(before)
        assert (last["type"], last["object"]["metadata"]["name"]) == ("ADDED", name(COUNT))

    played(tmp_path, story)


def test_kubectl_reads_a_list_in_pages(tmp_path: Path) -> None:
    async def story(server: Api, pages: Slow) -> None:
        del pages
        ran = await server.kubectl("get", "configmaps", "--chunk-size=5", "-o", "name")

        assert ran.out.split() == [f"configmap/{name(number)}" for number in range(COUNT)]

    played(tmp_path, story)
