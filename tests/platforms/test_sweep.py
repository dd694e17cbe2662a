"""Taking a mesh away, from whatever is left of it."""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

from plait.base import processes
from plait.base.processes import Command
from plait.config.ports import PodFiles
from plait.platforms.local.network import Network
from plait.platforms.local.sweep import sweep
from tests.support.netns import needs_root
from tests.support.platform import World, is_alive, is_ready, pid, pod, running


def is_there(network: Network) -> bool:
    return Path("/run/netns", network.switch).exists()


@needs_root
def test_everything_goes_after_the_platform_was_left_and_nothing_of_others():
    async def body(world: World) -> None:
        spec = {"volumes": [{"name": "data", "emptyDir": {}}]}
        mounts = [{"name": "data", "mountPath": str(world.top / "mounted" / "data")}]
        script = "setsid sleep 1000 & exec sleep 1000"
        async with world.platform() as platform:
            asked = pod(spec=spec, volumeMounts=mounts, script=script, proxy=True)
            await platform.run(asked, PodFiles())
            leader = pid(await world.until(is_ready))
            inside = await world.inside(1, 2)
        other = Network(Path(tempfile.gettempdir()) / "plait-other" / str(os.getpid()))
        await asyncio.to_thread(other.prepare)
        try:
            sweep(world.place.run)
            sweep(world.place.run)
            others_left = is_there(other)
        finally:
            await asyncio.to_thread(other.remove_all)

        assert others_left
        assert leader in inside
        assert not any(map(is_alive, inside))
        assert not is_there(Network(world.place.run))
        assert not world.place.run.exists()
        assert not (world.top / "mounted").exists()

    running(body)


@needs_root
def test_agent_and_envoys_go_with_what_they_share_and_no_other(tmp_path):
    run, base_id = tmp_path / "run", 10_000_000 + os.getpid()
    proxy = run / "proxy" / "edge"
    proxy.mkdir(parents=True)
    shared = [Path(f"/dev/shm/envoy_shared_memory_{base_id * 10}{end}") for end in ("", "0")]
    for path in shared:
        path.touch()
    wait = (sys.executable, "-c", "import time; time.sleep(1000)")
    agent = processes.start(Command(command=(*wait, "agent", "--run", str(run))), tmp_path / "log")
    envoy = processes.start(
        Command(command=(*wait, "-c", str(proxy / "envoy.json"))), tmp_path / "log"
    )
    other = processes.start(Command(command=(*wait, "agent", "--run", "/other")), tmp_path / "log")
    (proxy / "journal.json").write_text(f'{{"base_id": {base_id}, "restarts": 0}}')

    try:
        sweep(run)
        left = [one for one in (agent, envoy, other) if one.is_alive()]
        shared_left = [path for path in shared if path.exists()]
    finally:
        other.send_all(signal.SIGKILL)
        for path in shared:
            path.unlink(missing_ok=True)

    assert left == [other]
    assert shared_left == [shared[1]]


@needs_root
def test_processes_go_even_when_the_notes_are_gone():
    async def body(world: World) -> None:
        async with world.platform() as platform:
            await platform.run(pod(), PodFiles())
            leader = pid(await world.until(is_ready))
            await world.inside(1, 1)
        for path in world.place.run.rglob("*.json"):
            path.unlink()
        sweep(world.place.run)

        assert not is_alive(leader)
        assert not is_there(Network(world.place.run))

    running(body)
