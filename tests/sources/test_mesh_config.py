import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from plait.base.query import Drained, Query
from plait.config.ports import Fault
from plait.config.store import Store
from plait.sources.mesh_config import follow
from tests.support.permissions import nobodys_place
from tests.support.stores import PATIENCE, running


def timeout(q: Query) -> float | None:
    row = q.row("MeshConfig", "mesh")
    return None if row is None else row.connect_timeout


async def reaches(store: Store, expected: float) -> None:
    """Wait until the settings have that timeout."""
    changed = asyncio.Event()

    def listener(_: Drained, revision: int) -> None:
        changed.set()

    stop = store.listen(listener)
    while store.engine.get(timeout) != expected:
        await changed.wait()
        changed.clear()
    stop()


def test_the_settings_of_the_mesh_follow_their_file(tmp_path: Path):
    async def main():
        file = tmp_path / "mesh.yaml"
        file.write_text("connectTimeout: 3s\n")
        async with running() as store, asyncio.TaskGroup() as group:
            task = group.create_task(follow(file, store, interval=0.01))
            await reaches(store, 3.0)
            file.write_text("connectTimeout: 4s\n")
            await reaches(store, 4.0)
            file.write_text("connectTimeout: [\n")
            file.unlink()
            file.write_text("connectTimeout: 5s\n")
            await reaches(store, 5.0)
            task.cancel()

    asyncio.run(main())


def put_a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def forbid(file: Path) -> None:
    file.chmod(0)


def write_no_text(file: Path) -> None:
    file.write_bytes(b"connectTimeout: \xff\xfe")


def write_no_yaml(file: Path) -> None:
    file.write_text("connectTimeout: [\n")


def write_a_wrong_value(file: Path) -> None:
    file.write_text("connectTimeout: soon\n")


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (Path.unlink, "PLT1010", "No such file"),
        (put_a_directory, "PLT1010", "Is a directory"),
        (forbid, "PLT1010", "Permission denied"),
        (write_no_text, "PLT1010", "not text in UTF-8"),
        (write_no_yaml, "PLT1001", ""),
        (write_a_wrong_value, "PLT1005", "soon"),
    ],
)
def test_what_spoils_the_file_is_shown_and_the_last_good_settings_stay(
    spoil: Callable[[Path], None], code: str, words: str
):
    async def main(file: Path):
        async with running() as store, asyncio.TaskGroup() as group:
            task = group.create_task(follow(file, store, interval=0.01))
            await reaches(store, 3.0)
            spoil(file)
            (fault,) = await faults(store, 1)
            assert fault.code == code
            assert words in fault.problem
            assert store.engine.get(timeout) == 3.0
            mend(file)
            await reaches(store, 4.0)
            await faults(store, 0)
            task.cancel()

    with nobodys_place() as place:
        (place / "mesh.yaml").write_text("connectTimeout: 3s\n")
        asyncio.run(main(place / "mesh.yaml"))


def mend(file: Path) -> None:
    """Put a good file in the place of what is there."""
    if file.is_dir():
        file.rmdir()
    fresh = file.with_suffix(".new")
    fresh.write_text("connectTimeout: 4s\n")
    fresh.rename(file)


async def faults(store: Store, number: int) -> tuple[Fault, ...]:
    """Wait until so many are shown."""
    async with asyncio.timeout(PATIENCE):
        while len(store.faults.get("mesh-config", ())) != number:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return store.faults["mesh-config"]
