"""The tutorial's blocks, run one after the other as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netns import needs_root

TUTORIAL = Path(__file__).parent.parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = ("unshare", "--net", "bash", "-euo", "pipefail", "-c")  # ports clash with nobody's


@pytest.fixture
def reader() -> Iterator[dict[str, str]]:
    """Variables of somebody who starts from nothing; what runs at the end is ended."""
    with tempfile.TemporaryDirectory(prefix="plait-t-") as top:
        Path(top).chmod(0o755)
        own = {"PLAIT_DATA": f"{top}/data", "HOME": top, "PWD": top}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {**os.environ, **own, "PATH": path}
        try:
            yield variables
        finally:
            down = ("plait", "down", "--data", f"{top}/data")
            subprocess.run(down, env=variables, check=False, capture_output=True, timeout=120)


@needs_root
def test_every_block_of_the_tutorial_works(reader: dict[str, str]):
    blocks = BLOCK.findall(TUTORIAL.read_text())
    script = "\n".join(
        ["ip link set lo up", *(f"echo '== {i}'\n{b}" for i, b in enumerate(blocks))]
    )

    done = subprocess.run(
        [*SHELL, script],
        cwd=reader["HOME"],
        env=reader,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    counts = {
        name: int(n) for n, name in re.findall(r"^ *(\d+) hello from (v\d)$", said, re.MULTILINE)
    }
    assert sum(counts.values()) == 200
    assert all(50 < count < 150 for count in counts.values()), counts
    assert re.findall(r"(?m)^hello from v\d$", said) == ["hello from v1", "hello from v2"]
    assert "nothing is left" in said
    assert not Path(reader["PLAIT_DATA"]).exists()
