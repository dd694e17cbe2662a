"""What a store does when the process, the disk or the file fails it."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.base.errors import StoreCorruptError, StoreError, StoreFullError
from plait.config.history import FILE
from plait.config.recovery import recover
from plait.config.store import Store
from tests.support import scale
from tests.support.plane import PLAIT
from tests.support.stores import Said, config_map, entry, key, put, running, write

ROOT = Path(__file__).parent.parent.parent

WRITER = """
    import asyncio, sys
    from pathlib import Path
    from tests.support.stores import config_map, running, write, put

    async def main():
        async with running(Path(sys.argv[1])) as store:
            async def one(lane):
                for number in range(100_000):
                    record = await put(store, config_map(f"{lane}-{number % 7}", str(number)))
                    print(record.revision, record.key.name, number, flush=True)
            async with asyncio.TaskGroup() as group:
                for lane in range(3):
                    group.create_task(one(lane))

    asyncio.run(main())
"""


def child(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )


def test_every_acknowledged_write_survives_a_kill(tmp_path: Path):
    """One directory through all kills: each start goes on from what the last one left."""
    choice = random.Random(scale.seed())
    acknowledged: dict[str, tuple[int, int]] = {}

    async def check() -> None:
        async with running(tmp_path) as store:
            for name, (revision, number) in acknowledged.items():
                record = store.record(key(config_map(name)))
                assert record is not None, name
                assert record.revision >= revision
                if record.revision == revision:
                    assert record.document["data"] == {"value": str(number)}

    for _ in range(scale.count(20, 200)):
        writer = child(WRITER, str(tmp_path))
        assert writer.stdout is not None
        for _ in range(choice.randint(1, 120)):
            revision, name, number = writer.stdout.readline().split()
            acknowledged[name] = (int(revision), int(number))
        writer.send_signal(signal.SIGKILL)
        for line in writer.stdout.read().splitlines(keepends=True):
            if line.endswith("\n"):  # the last may be cut
                revision, name, number = line.split()
                acknowledged[name] = (int(revision), int(number))
        writer.wait()
        writer.stdout.close()
        asyncio.run(check())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_refuses_the_write_and_loses_nothing(small_disk: Path):
    async def main():
        async with running(small_disk) as store:
            accepted: dict[str, int] = {}
            with pytest.raises(StoreFullError, match="no room left"):
                await fill(store, accepted)
            assert len(accepted) > 20
            assert store.record(key(config_map(f"n{len(accepted)}"))) is None
            revision = store.revision
            with pytest.raises(StoreFullError):
                await store.commit([write(config_map("big", "a" * 2_000_000))])
            assert store.revision == revision
        await still_there(small_disk, accepted)

    asyncio.run(main())


async def fill(store: Store, accepted: dict[str, int]) -> None:
    """Write until it is refused, and note what was accepted."""
    for number in range(10_000):
        name = f"n{number}"
        accepted[name] = (await put(store, config_map(name, "a" * 2_000))).revision


async def still_there(place: Path, accepted: dict[str, int]) -> None:
    async with running(place) as store:
        found = {record.key.name: record.revision for record in store.records("ConfigMap")}
        assert {name: found.get(name) for name in accepted} == accepted


def test_writes_work_again_when_there_is_room(small_disk: Path):
    async def main():
        (small_disk / "ballast").write_bytes(b"a" * 600_000)
        files = Said("files")
        async with running(small_disk, files) as store:
            await files.say(complete=True)
            with pytest.raises(StoreFullError):
                await fill(store, {})
            await files.say(config_map("from-a-file", "a" * 900_000))
            assert store.record(key(config_map("from-a-file"))) is not None
            assert store.problem is not None
            with pytest.raises(StoreFullError):
                await store.commit([write(config_map("x", "a" * 2_000))])
            await files.say(config_map("from-a-file"))
            (small_disk / "ballast").unlink()
            record = await put(store, config_map("x"))
            assert store.problem is None
        async with running(small_disk) as store:
            assert store.record(record.key) == record
            kept = store.record(key(config_map("from-a-file")))
            assert kept is not None
            assert kept.document["data"] == {"value": "1"}

    asyncio.run(main())


LIMITED = """
    import asyncio, resource, sys
    from pathlib import Path
    from plait.base.errors import StoreError
    from tests.support.stores import config_map, running, put

    async def main():
        async with running(Path(sys.argv[1])) as store:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
            try:
                for number in range(10_000):
                    await put(store, config_map(f"n{number}", "a" * 2_000))
                    print(number, flush=True)
            except StoreError as error:
                print("refused", flush=True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
            await put(store, config_map("after"))
            print("again", flush=True)

    asyncio.run(main())
"""


def test_a_file_that_may_not_grow_refuses_the_write_and_loses_nothing(tmp_path: Path):
    process = child(LIMITED, str(tmp_path))
    out, _ = process.communicate(timeout=60)
    said = [line for line in out.splitlines() if not line.startswith("20")]  # without the log
    *numbers, refused, again = said

    assert (refused, again) == ("refused", "again")

    async def main():
        async with running(tmp_path) as store:
            names = {record.key.name for record in store.records("ConfigMap")}
            assert names == {f"n{number}" for number in numbers} | {"after"}

    asyncio.run(main())


def test_a_store_whose_file_is_cut_serves_on_from_memory_and_says_so(tmp_path: Path):
    async def main():
        files = Said("files")
        async with running(tmp_path, files) as store:
            await files.say(complete=True)
            for number in range(200):
                await put(store, config_map(f"n{number}", "a" * 2_000))
            os.truncate(tmp_path / FILE, (tmp_path / FILE).stat().st_size // 2)
            with pytest.raises(StoreCorruptError, match="was cut or removed while in use"):
                await put(store, config_map("x"))
            assert len(store.records("ConfigMap")) == 200
            await files.say(config_map("y"))
            assert store.record(key(config_map("y"))) is not None
            assert store.problem is not None
            with pytest.raises(StoreError):
                await put(store, config_map("x"))

    asyncio.run(main())


def test_a_cut_database_is_refused_and_what_is_left_can_be_recovered(tmp_path: Path):
    async def fill():
        async with running(tmp_path) as store:
            writes = [write(config_map(f"n{number}", "a" * 2_000)) for number in range(400)]
            await store.commit(writes)

    async def refuse() -> str:
        with pytest.raises(StoreCorruptError) as caught:
            async with running(tmp_path):
                pass
        return str(caught.value)

    async def count() -> int:
        async with running(tmp_path) as store:
            await put(store, config_map("new"))
            return len(store.records("ConfigMap"))

    asyncio.run(fill())
    file = tmp_path / FILE
    os.truncate(file, file.stat().st_size // 2)
    before = file.read_bytes()
    names = {path.name for path in tmp_path.iterdir()}

    message = asyncio.run(refuse())

    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == names
    assert f"plait store recover --data {tmp_path}" in message
    done = recover(tmp_path)
    assert 100 < done.objects < 400
    assert asyncio.run(count()) == done.objects + 1


@pytest.mark.parametrize("share", [25, 50, 75, 90])
def test_a_recovery_ends_wherever_the_database_was_cut(share: int, tmp_path: Path):
    async def fill():
        async with running(tmp_path) as store:
            for start in range(0, 2_000, 200):
                await store.commit([write(entry(f"e{start + n:04}")) for n in range(200)])

    async def saved() -> list[str]:
        async with running(tmp_path) as store:
            return [record.key.name for record in store.records("ServiceEntry")]

    asyncio.run(fill())
    file = tmp_path / FILE
    os.truncate(file, file.stat().st_size * share // 100)
    before = file.read_bytes()

    command = (*PLAIT, "store", "recover", "--data", str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    kept = tmp_path / f"{FILE}.damaged-1"
    assert kept.read_bytes() == before
    names = asyncio.run(saved())
    assert len(names) > 2_000 * (share - 10) // 100
    assert f"{len(names)} objects in {len(names)} revisions were saved" in done.stdout
    assert str(kept) in done.stdout
