"""Each case: the objects in it give exactly the configuration and the status beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.case import Case, printed

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/proxies.yaml"))


@pytest.mark.parametrize("directory", CASES, ids=lambda path: path.name)
def test_a_case(directory: Path, request: pytest.FixtureRequest):
    case = Case(directory)
    found = {directory / "out" / f"{proxy}.yaml": case.shown(proxy) for proxy in case.proxies}
    found[directory / "status.yaml"] = case.status()

    if request.config.getoption("--accept"):
        accept(directory, found)

    assert {path.name: path.read_text() for path in found} == {
        path.name: printed(value) for path, value in found.items()
    }
    assert sorted((directory / "out").iterdir()) == sorted(set(found) - {directory / "status.yaml"})


def accept(directory: Path, found: dict[Path, Any]) -> None:
    """Write what came out as expected; what no proxy asks for any more goes."""
    (directory / "out").mkdir(exist_ok=True)
    for stale in set((directory / "out").iterdir()) - set(found):
        stale.unlink()
    for path, value in found.items():
        path.write_text(printed(value))
