"""The runtime of the other tests keeps the contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from plait.config.kinds.pod import Pod
from plait.config.meta import Object
from plait.config.ports import Runtime
from tests.contract.runtime import RuntimeContract
from tests.support.objects import made
from tests.support.runtime import FakeRuntime


class Fake:
    @asynccontextmanager
    async def runtime(self) -> AsyncIterator[Runtime]:
        yield FakeRuntime()

    def pod(self, name: str, uid: str = "u1") -> Object[Pod]:
        containers = [{"name": "app", "image": "i"}]
        return made("Pod", name, {"spec": {"containers": containers}}, uid=uid)


class TestFakeRuntime(RuntimeContract):
    @pytest.fixture
    def subject(self) -> Fake:
        return Fake()
