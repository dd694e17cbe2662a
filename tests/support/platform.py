"""The local platform for tests: Pods of small programs, and somebody in place of the agent."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from plait.base import place as places
from plait.base.place import Place, ProxySpec, ProxyState
from plait.config.kinds.pod import ContainerStatus, PodStatus
from plait.config.meta import Key, Object
from plait.config.ports import PodFile, PodFiles
from plait.platforms.local import members
from plait.platforms.local.network import Network
from plait.platforms.local.pods import Platform
from plait.platforms.local.sweep import sweep
from tests.support.objects import made

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
SERVER = (
    "import http.server, os\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200 if os.path.exists('ok') or self.path == '/' else 503)\n"
    "        self.end_headers()\n"
    "    def log_message(self, *a): pass\n"
    "http.server.ThreadingHTTPServer(('', 8080), H).serve_forever()\n"
)


def pod(
    name: str = "app-1", script: str = "exec sleep 1000", uid: str = "u1", **more: Any
) -> Object[Any]:
    """A Pod with one container that runs a script; without sidecar, unless `proxy` is true."""
    inject = "true" if more.pop("proxy", False) else "false"
    annotations = more.pop("annotations", {})
    spec = more.pop("spec", {})
    container = {"name": "app", "image": "sh", "args": [script], **more}
    return made(
        "Pod",
        name,
        {"spec": {"containers": [container], **spec}},
        uid=uid,
        labels={"app": name, "sidecar.istio.io/inject": inject},
        annotations=annotations,
    )


class World:
    """A platform on a run directory, and what is seen of its Pods."""

    def __init__(self, top: Path) -> None:
        self.place = Place(top / "run")
        self.images = top / "images.toml"
        self.images.write_text(
            f'[images.sh]\ncommand = ["/bin/sh", "-c"]\n'
            f'[images.python]\ncommand = ["{sys.executable}", "-c"]\n'
        )
        self.top = top
        self.seen: dict[Key, PodStatus] = {}

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[Platform]:
        """A platform, watched, until the block ends."""
        async with (
            Platform(self.place, self.images, {"PATH": PATH}) as made_,
            asyncio.TaskGroup() as g,
        ):
            watching = g.create_task(self._watch(made_))
            proxies = g.create_task(self._mark_ready())
            yield made_
            watching.cancel()
            proxies.cancel()

    async def until(
        self, is_so: Callable[[PodStatus], object], name: str = "app-1", seconds: float = 15
    ) -> PodStatus:
        """Wait until a Pod's status is as wanted."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            found = next((s for key, s in self.seen.items() if key.name == name), None)
            if found is not None and is_so(found):
                return found
            assert asyncio.get_running_loop().time() < deadline, found
            await asyncio.sleep(0.02)

    async def inside(self, number: int, count: int) -> frozenset[int]:
        """Who runs in the namespace of a Pod, once they are so many."""
        network = Network(self.place.run).path(number)
        async with asyncio.timeout(15):
            while True:
                found = members.members(network)
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.02)

    async def _watch(self, platform: Platform) -> None:
        async for states in platform.observe():
            self.seen |= {state.key: state.status for state in states}

    async def _mark_ready(self) -> None:
        """Says of every proxy asked for that it is ready."""
        while True:
            for path in self.place.specs.glob("*.json"):
                spec = places.read(path, ProxySpec)
                if spec is not None and not self.place.state(spec.id).exists():
                    self.place.proxy(spec.id).mkdir(parents=True, exist_ok=True)
                    places.write(
                        self.place.state(spec.id), ProxyState(id=spec.id, pid=1, ready=True)
                    )
            await asyncio.sleep(0.02)


def running(body: Callable[[World], Awaitable[None]]) -> None:
    """Run a test in a world that is swept away at its end."""
    top = Path(tempfile.mkdtemp(prefix="plait-"))
    top.chmod(0o755)

    async def within_time() -> None:
        async with asyncio.timeout(40):
            await body(World(top))

    try:
        asyncio.run(within_time())
    finally:
        sweep(top / "run")
        shutil.rmtree(top, ignore_errors=True)


def is_ready(status: PodStatus) -> bool:
    """Whether the Pod is Ready."""
    return condition(status, "Ready")[0] == "True"


def condition(status: PodStatus, type_: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition."""
    found = next(one for one in status.conditions if one.type == type_)
    return found.status, found.reason, found.message


def container(status: PodStatus, name: str = "app") -> ContainerStatus:
    """The status of a container."""
    every = (*status.container_statuses, *status.init_container_statuses)
    return next(one for one in every if one.name == name)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is not dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def pid(status: PodStatus) -> int:
    """Of its container."""
    return int(container(status).container_id.removeprefix("plait://"))


async def said(lines: AsyncIterator[bytes]) -> str:
    """A whole log."""
    return b"".join([part async for part in lines]).decode()


def contents(
    volumes: Mapping[str, Mapping[str, bytes]],
) -> dict[str, dict[str, PodFile]]:
    """Volumes with files that everybody may read."""
    return {
        volume: {name: PodFile(content) for name, content in files.items()}
        for volume, files in volumes.items()
    }


def files(
    env: Mapping[str, str] = {},
    volumes: Mapping[str, Mapping[str, bytes]] = {},
    problems: Sequence[str] = (),
) -> PodFiles:
    """What a Pod takes from other objects."""
    return PodFiles(env={"app": env}, volumes=contents(volumes), problems=tuple(problems))
