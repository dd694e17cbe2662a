import asyncio
from pathlib import Path

from plait.base.query import Drained, Query
from plait.config.store import Store
from plait.sources.mesh_config import follow
from tests.support.stores import running


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


def test_a_directory_for_a_file_is_said_and_waited_for(tmp_path: Path):
    async def main():
        file = tmp_path / "mesh.yaml"
        file.mkdir()
        async with running() as store, asyncio.TaskGroup() as group:
            task = group.create_task(follow(file, store, interval=0.01))
            await asyncio.sleep(0)
            file.rmdir()
            file.write_text("connectTimeout: 3s\n")
            await reaches(store, 3.0)
            task.cancel()

    asyncio.run(main())
