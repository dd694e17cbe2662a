"""What a Pod's annotations say of its proxy."""

from __future__ import annotations

import os

import pytest

from plait.platforms.local import surroundings


@pytest.mark.parametrize(
    ("annotations", "workers"),
    [
        ({}, 1),
        ({"sidecar.istio.io/proxyCPULimit": "2000m"}, 2),
        ({"sidecar.istio.io/proxyCPULimit": "1.5"}, 2),
        ({"sidecar.istio.io/proxyCPULimit": "100m"}, 1),
        ({"sidecar.istio.io/proxyCPULimit": "nonsense"}, 1),
        ({"proxy.istio.io/config": "concurrency: 3"}, 3),
        ({"proxy.istio.io/config": '{"concurrency": 4}'}, 4),
        ({"proxy.istio.io/config": "concurrency: 0"}, os.cpu_count()),
        (
            {
                "proxy.istio.io/config": "concurrency: 3",
                "sidecar.istio.io/proxyCPULimit": "1",
            },
            3,
        ),
    ],
)
def test_workers_follow_the_configuration_and_then_the_limit(annotations, workers):
    assert surroundings.concurrency(annotations) == workers
