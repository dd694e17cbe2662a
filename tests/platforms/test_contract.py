"""The local platform is a runtime."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from plait.config.kinds.pod import Pod
from plait.config.meta import Object
from plait.config.ports import Runtime
from plait.platforms.local.sweep import sweep
from tests.contract.runtime import RuntimeContract
from tests.support.netns import needs_root
from tests.support.platform import World, pod

pytestmark = needs_root


class Local:
    def __init__(self, world: World) -> None:
        self._world = world

    @asynccontextmanager
    async def runtime(self) -> AsyncIterator[Runtime]:
        async with self._world.platform() as platform:
            yield platform

    def pod(self, name: str, uid: str = "u1") -> Object[Pod]:
        return pod(name, "echo hello; exec sleep 1000", uid=uid)


class TestLocalPlatform(RuntimeContract):
    @pytest.fixture
    def subject(self) -> Iterator[Local]:
        top = Path(tempfile.mkdtemp(prefix="plait-"))
        top.chmod(0o755)
        yield Local(World(top))
        sweep(top / "run")
        shutil.rmtree(top, ignore_errors=True)
