"""How Secrets are stored, and what happens without the key."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plait.base.seal import Keys
from plait.config import seal
from plait.config.history import FILE
from plait.config.meta import Key
from plait.config.recovery import recover
from plait.config.seal import Seal
from plait.config.store import Store, Tuning
from tests.support.stores import Said, config_map, delete, key, put, running, write

CANARY = "canary-71f3-do-not-tell"
A = Key("", "Secret", "demo", "a")
LAST = "kubectl.kubernetes.io/last-applied-configuration"


def secret(name: str = "a", value: str = CANARY, **body: Any) -> dict[str, Any]:
    manifest = json.dumps({"stringData": {"token": value}})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "demo", "annotations": {LAST: manifest}},
        "type": "Opaque",
        "data": {"token": base64.b64encode(value.encode()).decode()},
        "stringData": {"text": value},
        **body,
    }


def forms(value: str) -> tuple[bytes, ...]:
    """A value in every form in which it could be found."""
    raw = value.encode()
    middles = [base64.b64encode(b"x" * shift + raw)[4:-4] for shift in range(3)]
    return (raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), *middles)


def leaks(directory: Path) -> list[str]:
    """Files that hold the canary."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if any(form in path.read_bytes() for form in forms(CANARY))]


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


def data(store: Store, name: str = "a") -> dict[str, str] | None:
    record = store.record(Key("", "Secret", "demo", name))
    assert record is not None
    return record.document.get("data")


def test_a_secret_is_nowhere_on_the_disk_in_plain(tmp_path: Path):
    async def story() -> None:
        source = Said()
        for _ in range(2):
            async with running(tmp_path, source, tuning=Tuning(keep=3)) as store:
                await source.say(secret("from-files"))
                for number in range(8):  # the history forgets some of it meanwhile
                    await put(store, secret(value=f"{CANARY}{number}"))
                await put(store, secret("broken", data={"token": CANARY + "!"}))
                await store.commit([delete(secret("broken"))])
                assert leaks(tmp_path) == []
                assert store.record(A) is not None

        assert leaks(tmp_path) == []

    asyncio.run(story())


def test_a_secret_is_read_back_as_it_was_written(tmp_path: Path):
    async def story() -> None:
        async with running(tmp_path) as store:
            before = await put(store, secret())

        async with running(tmp_path) as store:
            after = store.record(A)
            (kept,) = await store.history(A)

        assert after is not None
        assert after.document == before.document
        assert after.object is not None
        assert after.object.spec.values == {"token": CANARY.encode(), "text": CANARY.encode()}
        assert kept.document is not None
        assert kept.document["data"] == before.document["data"]

    asyncio.run(story())


def test_texts_of_a_secret_are_kept_among_its_data():
    async def story() -> None:
        async with running() as store:
            record = await put(store, secret())

        assert "stringData" not in record.document
        assert set(record.document["data"]) == {"token", "text"}

    asyncio.run(story())


def test_without_the_key_a_secret_is_named_and_kept_and_all_else_works(tmp_path: Path):
    async def story() -> None:
        async with running(tmp_path) as store:
            await put(store, secret())
            await put(store, config_map("c"))
        file = tmp_path / seal.FILE
        key = bytes.fromhex(file.read_text().strip())
        name, _ = Keys([key]).close(b"", b"")
        file.rename(tmp_path / "kept")

        async with running(tmp_path) as store:
            record = store.record(A)
            assert record is not None
            assert record.object is None
            (said,) = map(str, record.problems)
            assert said == (
                f'PLT1011 it is sealed with the key "{name}", which is not in secrets.key. Add the '
                "line of that key to secrets.key in the data directory and start plait again, or "
                "write the Secret anew"
            )
            await put(store, secret("new"))
            await put(store, config_map("d"))

        with file.open("a") as keys:
            keys.write((tmp_path / "kept").read_text())
        async with running(tmp_path) as store:
            assert data(store) == data(store, "new") != {}
            assert all(store.records(kind) for kind in ("ConfigMap", "Secret"))

    asyncio.run(story())


def test_a_secret_that_cannot_be_opened_may_be_written_anew_and_deleted(tmp_path: Path):
    async def story() -> None:
        async with running(tmp_path) as store:
            await put(store, secret("a"))
            await put(store, secret("b"))
        (tmp_path / seal.FILE).write_text("no key at all\n")

        async with running(tmp_path) as store:
            renewed = await put(store, secret("a", "new"))
            (gone,) = await store.commit([delete(secret("b"))])

        assert renewed.object is not None
        assert gone is None
        assert (tmp_path / seal.FILE).read_text().startswith("no key at all\n")

    asyncio.run(story())


def test_a_recovered_database_keeps_its_secrets_sealed(tmp_path: Path):
    async def story() -> None:
        async with running(tmp_path) as store:
            await put(store, secret())

        recover(tmp_path)

        assert leaks(tmp_path) == []
        async with running(tmp_path) as store:
            assert data(store) is not None

    asyncio.run(story())


def test_all_files_are_readable_by_their_owner_only(tmp_path: Path):
    async def story() -> None:
        async with running(tmp_path) as store:
            await put(store, config_map("a"))
            found = modes(tmp_path)

        assert set(found) >= {FILE, f"{FILE}-wal", "lock", seal.FILE}
        assert set(found.values()) == {0o600}

    asyncio.run(story())


def test_a_seal_that_is_moved_to_another_object_does_not_open():
    one = Seal.of(None)
    closed = one.sealed(A, secret())

    assert one.opened(A, closed)["data"] == secret()["data"]
    assert seal.is_sealed(one.opened(Key("", "Secret", "demo", "b"), closed))


@pytest.mark.parametrize("text", ["", ":", "x:y", "{name}:", "{name}:AAAA", "{name}:{half}"])
def test_a_spoiled_seal_leaves_the_document_as_it_is(text: str):
    one = Seal.of(None)
    name, _, whole = one.sealed(A, secret())[seal.SEALED].partition(":")
    spoiled = {"metadata": {}, seal.SEALED: text.format(name=name, half=whole[: len(whole) // 2])}

    assert one.opened(A, spoiled) == spoiled


def test_other_kinds_are_stored_as_they_are(tmp_path: Path):
    async def story() -> None:
        async with running(tmp_path) as store:
            await put(store, config_map("a", "plainly-there"))

        with closing(sqlite3.connect(tmp_path / FILE)) as connection:
            ((document,),) = connection.execute("SELECT document FROM revisions")
        assert "plainly-there" in document

    asyncio.run(story())


@pytest.mark.parametrize(
    "body",
    [
        {"data": CANARY},
        {"data": {"token": CANARY + "!"}},
        {"data": {"token": {CANARY: CANARY}}},
        {"stringData": [CANARY]},
        {"stringData": {"token": [CANARY]}},
        {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}, "stringData": {"a": CANARY}},
    ],
)
def test_what_is_wrong_with_a_secret_is_told_without_its_values(body: dict[str, Any]):
    made = write({**secret(value="other"), **body}).change

    assert made is not None
    assert made.problems
    assert not [one for one in made.problems if CANARY in repr(one)]
    assert CANARY not in repr(made.object)


def test_a_secret_is_told_apart_from_other_kinds():
    assert seal.is_secret(key(secret()))
    assert not seal.is_secret(key(config_map("a")))


def test_what_is_written_over_a_secret_that_cannot_be_opened_is_sealed_too():
    lost = Seal.of(None).sealed(A, secret())
    one = Seal.of(None)

    renewed = one.sealed(A, {**lost, "data": secret()["data"]})

    assert CANARY not in str(renewed)
    assert secret()["data"]["token"] not in str(renewed)
    assert one.opened(A, renewed)["data"] == secret()["data"]
    assert one.sealed(A, lost) == lost


@pytest.mark.parametrize("left", ["no key at all", "7f", "\n"])
def test_a_new_key_opens_after_a_restart_whatever_the_file_ended_with(tmp_path: Path, left: str):
    (tmp_path / seal.FILE).write_text(left)

    stored = Seal.of(tmp_path).sealed(A, secret())

    assert Seal.of(tmp_path).opened(A, stored)["data"] == secret()["data"]
