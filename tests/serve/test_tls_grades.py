"""What testssl finds at each of plait's own doors with TLS: nothing that matters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doored import Doored
from tests.support.grading import needs_testssl, severe

DOORS = ("api-tls", "xds-tls", "join")

pytestmark = needs_testssl


@pytest.fixture(scope="module")
def doored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doored]:
    with Doored(tmp_path_factory.mktemp("doored")) as running:
        yield running


@pytest.mark.parametrize("door", DOORS)
def test_nothing_severe_is_found(doored: Doored, door: str, tmp_path: Path):
    assert severe(doored.addresses[door], doored.root, tmp_path) == {}
