"""The benchmarks of pushes and restarts work; what they measure is not judged here."""

from __future__ import annotations

import re

import pytest

from tests.support.benchmark import printed

SMALL = ("--services", "10", "--clients", "10", "--rounds", "1", "--only", "scoped")


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("restart", "bytes of configuration per proxy +0 B"),
        ("endpoint", "change → last proxy +[\\d.]+ ms"),
        ("route", "change → last proxy +[\\d.]+ ms"),
    ],
)
def test_a_benchmark_prints_its_rows(name: str, row: str):
    assert re.search(row, printed(name, *SMALL))
