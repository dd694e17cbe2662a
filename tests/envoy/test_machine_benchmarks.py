"""The benchmarks that run a mesh on this machine work; what they measure is not judged here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tests.support.netns import needs_root
from tests.support.plane import ROOT

pytestmark = needs_root


def printed(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_up_prints_the_time_to_the_first_page_and_what_each_process_needs():
    found = printed("up", "--rounds", "1")

    rows = dict(re.findall(r"(?m)^  (.*?) +(\d+\.\d) \[", found))
    assert set(rows) == {
        "first page, s",
        "everything ready, s",
        "control plane (each), MB",
        "agent (each), MB",
        "Envoy (each), MB",
        "service (each), MB",
    }


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_sidecar_prints_a_row_for_each_path():
    found = printed("sidecar", "--rounds", "1", "--seconds", "1")

    rows = re.findall(r"(?m)^(direct|one Envoy|pair), (1|32) connections +[\d,]+ ", found)
    assert len(set(rows)) == 6
