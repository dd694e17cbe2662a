"""Secrets served to a proxy: by both kinds of stream, changed while it runs, refused and read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from plait.agent.certfiles import Files
from plait.agent.sds import SERVICE, Sds
from plait.agent.secrets import Secrets
from plait.xds import keys, protos
from plait.xds.resource import CLUSTER, SECRET
from tests.support import pki
from tests.support.signing import Authority
from tests.support.xds_client import Client, node

ROOT = "ROOTCA"


class Served:
    def __init__(self, directory: Path) -> None:
        self.secrets = Secrets()
        self.socket = directory / "sds.sock"
        self.sds = Sds(self.socket, self.secrets, "web")

    def put(self, name: str, text: str) -> None:
        self.secrets.put(keys.roots(name, text.encode()))

    @asynccontextmanager
    async def envoy(self, *, delta: bool = False) -> AsyncIterator[Client]:
        method = "DeltaSecrets" if delta else "StreamSecrets"
        async with (
            grpc.aio.insecure_channel(f"unix:{self.socket}") as channel,
            asyncio.TaskGroup() as group,
        ):
            call = channel.stream_stream(f"/{SERVICE}/{method}")()
            client = Client(call, delta=delta, node=node())
            reader = group.create_task(client.read())
            try:
                yield client
            finally:
                reader.cancel()
                call.cancel()

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110 - what is looked at has no event
                await asyncio.sleep(0.01)


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[Served]:
    found = Served(directory)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(found.sds.run()),
            group.create_task(Files(found.secrets, None, "web").run()),
        ]
        await found.until(found.socket.exists)
        try:
            yield found
        finally:
            for task in tasks:
                task.cancel()


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


both = pytest.mark.parametrize("delta", [True, False])


@both
def test_a_secret_is_sent_when_it_is_known_and_again_when_it_changes(tmp_path: Path, delta: bool):
    async def story() -> None:
        async with served(tmp_path) as found, found.envoy(delta=delta) as envoy:
            await envoy.subscribe(SECRET, ROOT)
            found.put("other", "not asked for")
            found.put(ROOT, "first")
            await envoy.has(SECRET, ROOT)
            first = envoy.resources[SECRET][ROOT]
            found.put(ROOT, "first")
            found.put(ROOT, "second")
            await envoy.until(lambda: envoy.resources[SECRET][ROOT] != first)

            assert envoy.messages[SECRET] == 2
            assert envoy.resources[SECRET].keys() == {ROOT}

    run(story)


def test_a_proxy_that_comes_back_is_sent_what_it_lacks(tmp_path: Path):
    async def story() -> None:
        async with served(tmp_path) as found:
            found.put(ROOT, "first")
            found.put("default", "who")
            async with found.envoy(delta=True) as envoy:
                await envoy.subscribe(SECRET, ROOT, "default")
                await envoy.has(SECRET, ROOT, "default")
                held = envoy.versions[SECRET]
            found.put("default", "another")
            async with found.envoy(delta=True) as envoy:
                await envoy.subscribe(SECRET, ROOT, "default", initial=held)
                await envoy.has(SECRET, "default")

                assert ROOT not in envoy.versions[SECRET]

    run(story)


@both
def test_a_refusal_is_logged_once_and_the_next_version_is_sent(tmp_path: Path, delta: bool):
    async def story() -> None:
        with capture_logs() as logs:
            async with served(tmp_path) as found, found.envoy(delta=delta) as envoy:
                envoy.judge = lambda _: "no certificate"
                found.put(ROOT, "bad")
                await envoy.subscribe(SECRET, ROOT)
                await found.until(lambda: logs)
                assert await found.sds.outcome(ROOT) == "no certificate"
                found.put(ROOT, "bad as well")
                await envoy.until(lambda: envoy.messages[SECRET] == 2)
                envoy.judge = lambda _: None
                found.put(ROOT, "good")
                assert await found.sds.outcome(ROOT) == ""
                assert envoy.messages[SECRET] == 3

        assert [(one["event"], one["key"]) for one in logs] == [("secret refused", ROOT)]

    run(story)


def test_what_a_proxy_makes_of_a_secret_is_known_when_it_answered(tmp_path: Path):
    async def story() -> None:
        async with served(tmp_path) as found:
            found.put(ROOT, "first")
            assert await found.sds.outcome(ROOT) == ""  # nobody asks for it
            async with found.envoy() as envoy:
                envoy.silent = True
                await envoy.subscribe(SECRET, ROOT)
                await envoy.until(lambda: envoy.responses)
                async with asyncio.TaskGroup() as group:
                    outcome = group.create_task(found.sds.outcome(ROOT))
                    await asyncio.sleep(0.05)
                    assert not outcome.done()
                    await envoy.acknowledge(envoy.responses[-1])
                assert outcome.result() == ""

    run(story)


def test_only_secrets_are_served(tmp_path: Path):
    async def story() -> None:
        async with served(tmp_path) as found, found.envoy(delta=True) as envoy:
            await envoy.subscribe(CLUSTER, "one")
            async with asyncio.timeout(10):
                await envoy.ended.wait()

            assert envoy.error is not None
            assert envoy.error.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(story)


def test_a_list_of_revoked_certificates_comes_with_the_roots_and_is_followed(tmp_path: Path):
    authority = pki.Authority()
    pair = authority.issue("a.example")
    listed = tmp_path / "ca.crl"
    name = f"file-root:{tmp_path}/ca.crt~{listed}"
    (tmp_path / "ca.crt").write_text(authority.root)
    first, second = authority.revoke(), authority.revoke(pair)

    async def story() -> None:
        with capture_logs() as logs:
            async with served(tmp_path) as found, found.envoy(delta=True) as envoy:

                def is_told(text: str) -> bool:
                    told = protos.Secret.FromString(envoy.resources[SECRET][name])
                    return bool(told.validation_context.crl.inline_bytes == text.encode())

                await envoy.subscribe(SECRET, name)
                await found.until(lambda: len(logs) == 1)  # the list is not there yet
                listed.write_text(first)
                await envoy.has(SECRET, name)
                assert is_told(first)

                listed.write_text("junk")
                await found.until(lambda: "is not a list of revoked" in logs[-1].get("error", ""))
                assert is_told(first)
                listed.write_text(second)
                await envoy.until(lambda: is_told(second))

    run(story)


def test_certificates_in_files_are_followed_and_a_broken_pair_changes_nothing(tmp_path: Path):
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    pair, root = f"file-cert:{certificate}~{key}", f"file-root:{tmp_path}/ca.crt"
    authority = Authority()
    first, second = authority.pair(), authority.pair()

    async def story() -> None:
        with capture_logs() as logs:
            async with served(tmp_path) as found, found.envoy(delta=True) as envoy:
                await envoy.subscribe(SECRET, pair, root)
                await found.until(lambda: len(logs) == 2)  # neither is there yet
                for file, text in zip((certificate, key), first, strict=True):
                    file.write_text(text)
                (tmp_path / "ca.crt").write_text(authority.root)
                await envoy.has(SECRET, pair, root)
                held = envoy.resources[SECRET][pair]

                certificate.write_text(second[0])  # and its key not yet
                await found.until(lambda: "is not of the key" in logs[-1].get("error", ""))
                assert envoy.resources[SECRET][pair] == held
                key.write_text(second[1])
                await envoy.until(lambda: envoy.resources[SECRET][pair] != held)
                await found.until(lambda: logs[-1]["event"] == "secret back")

        assert "PRIVATE" not in str(logs)
        assert [one["keeping"] for one in logs if one["event"] == "secret not read"] == [0, 0, 1]

    run(story)
