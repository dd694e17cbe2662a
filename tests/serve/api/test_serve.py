"""Where the API listens, and what it refuses to."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from pathlib import Path

import aiohttp
import pytest

from plait.base.clock import WallClock
from plait.base.errors import AddressInUseError, SettingsError
from plait.config.catalog import KINDS
from plait.config.store import Store
from plait.serve.api import app
from plait.serve.api.backend import Backend
from plait.serve.api.guard import Residents
from plait.serve.api.pages import NoPages
from tests.support.netns import needs_root
from tests.support.users import as_user


async def opened(address: str) -> None:
    """Serve until all is open."""
    store = await Store.open(None, WallClock())
    ready = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            serving = app.serve(
                Backend(store=store, pages=NoPages()),
                [address],
                ready=lambda addresses: ready.set(),
            )
            task = group.create_task(serving)
            await ready.wait()
            task.cancel()
    finally:
        await store.close()


def outcome(address: str) -> BaseException:
    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(opened(address))
    return raised.value.exceptions[0]


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        error = outcome(address)

    assert isinstance(error, AddressInUseError)
    assert address in str(error)


def test_a_socket_in_use_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()

        error = outcome(f"unix:{path}")

    assert isinstance(error, AddressInUseError)
    assert path.exists()


def test_a_socket_of_a_server_that_is_too_busy_to_answer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as taken, socket.socket(socket.AF_UNIX) as waiting:
        taken.bind(str(path))
        taken.listen(0)
        waiting.connect(str(path))

        error = outcome(f"unix:{path}")

    assert isinstance(error, AddressInUseError)
    assert path.exists()


def test_a_file_where_a_socket_should_be_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("of somebody")

    error = outcome(f"unix:{path}")

    assert isinstance(error, AddressInUseError)
    assert str(path) in str(error)
    assert path.read_text() == "of somebody"


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:80", "example.com:80", "[::]:0"])
def test_addresses_that_other_machines_reach_are_refused(address: str) -> None:
    error = outcome(address)

    assert isinstance(error, SettingsError)
    assert "no authentication" in str(error)
    assert "--api-tls" in str(error)


@pytest.mark.parametrize("address", ["8080", "127.0.0.1:http", "127.0.0.1:70000", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    assert "no address" in str(outcome(address))


def test_a_unix_socket_left_by_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def main() -> None:
        store = await Store.open(None, WallClock())
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            serving = app.serve(
                Backend(store=store, pages=NoPages()),
                [f"unix:{path}"],
                ready=lambda addresses: ready.set(),
            )
            task = group.create_task(serving)
            await ready.wait()
            connector = aiohttp.UnixConnector(str(path))
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get("http://plait/healthz") as answer,
            ):
                assert await answer.text() == "ok"
            assert path.stat().st_mode & 0o777 == 0o600
            task.cancel()
        await store.close()

    asyncio.run(main())


NOBODY = 65534
ACCOUNT = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "web", "namespace": "default"},
}


def asked(address: str, method: str, path: str, body: object = None) -> str:
    """The status of an answer, and its message."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    is_error = answer.status >= 400
    return f"{answer.status} {json.loads(text)['message'] if is_error else ''}".strip()


@needs_root
@pytest.mark.parametrize(
    ("uid", "residents", "code", "who"),
    [
        (NOBODY, Residents(()), 403, None),
        (NOBODY, Residents.named(["4711"]), 403, None),
        (NOBODY, Residents.named(["4711", "nobody"]), 201, "nobody"),
        (4711, Residents.named(["*"]), 201, "4711"),
        (0, Residents.named(["nobody"]), 201, "root"),
    ],
)
def test_the_users_of_this_machine_who_may_ask_are_known_by_the_kernel(
    uid: int, residents: Residents, code: int, who: str | None
) -> None:
    async def body() -> tuple[str, str, str | None]:
        store = await Store.open(None, WallClock())
        address: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            backend = Backend(store=store, pages=NoPages())
            serving = app.serve(
                backend, ["127.0.0.1:0"], residents=residents, ready=address.set_result
            )
            tasks = [group.create_task(serving), group.create_task(store.run())]
            (where,) = await address
            alive = await asyncio.to_thread(as_user, uid, lambda: asked(where, "GET", "/livez"))
            path = "/api/v1/namespaces/default/serviceaccounts"
            post = lambda: asked(where, "POST", path, ACCOUNT)  # noqa: E731
            said = await asyncio.to_thread(as_user, uid, post)
            record = store.record(KINDS["ServiceAccount"].key("default", "web"))
            for task in tasks:
                task.cancel()
        await store.close()
        return alive, said, record.who if record else None

    alive, said, wrote = asyncio.run(body())

    assert alive == "200"
    assert said.startswith(str(code))
    assert wrote == who
    if code == 403:
        assert "and not for user nobody: start the control plane with --api-user NAME" in said


def test_a_user_who_does_not_exist_is_named() -> None:
    with pytest.raises(SettingsError, match='--api-user: this machine has no user "no-such-user"'):
        Residents.named(["root", "no-such-user"])


def test_it_is_ready_when_all_is_known_and_proxies_can_connect() -> None:
    async def body() -> list[tuple[int, str]]:
        store = await Store.open(None, WallClock())
        opened = asyncio.Event()
        address: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        backend = Backend(store=store, pages=NoPages(), is_open=opened.is_set)
        found = []
        async with asyncio.TaskGroup() as group, aiohttp.ClientSession() as session:

            async def look() -> None:
                async with session.get(f"http://{(await address)[0]}/readyz") as response:
                    found.append((response.status, await response.text()))

            serving = app.serve(backend, ["127.0.0.1:0"], ready=address.set_result)
            tasks = [group.create_task(serving)]
            await look()
            tasks.append(group.create_task(store.run()))
            await store.ready.wait()
            await look()
            opened.set()
            await look()
            for task in tasks:
                task.cancel()
        await store.close()
        return found

    assert asyncio.run(body()) == [
        (503, "sources have not said everything yet\n"),
        (503, "proxies cannot connect yet\n"),
        (200, "ok"),
    ]
