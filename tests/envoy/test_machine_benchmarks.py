"""The benchmarks that run a mesh on this machine work; what they measure is not judged here."""

from __future__ import annotations

import re
import shutil

import pytest

from benchmarks.pairs import WAYS
from tests.support.benchmark import printed
from tests.support.netns import needs_root

pytestmark = needs_root


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
def test_sidecar_prints_a_row_for_each_path_and_compares_pairs_with_those_by_hand():
    found = printed("sidecar", "--quick")

    rows = re.findall(r"(?m)^(\S.*), (1|32) connections +[\d,]+ .*?(?: ([\d.]+x))?$", found)
    assert {name for name, _, _ in rows} == {way.name for way in WAYS}
    assert len({row[:2] for row in rows}) == 2 * len(WAYS)
    compared = {name for name, _, ratio in rows if ratio}
    assert compared == {"pair, mutual TLS", "pair, mutual TLS, and a log"}
