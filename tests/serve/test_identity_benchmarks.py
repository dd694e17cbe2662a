"""The benchmarks of identities work; what they measure is not judged here."""

from __future__ import annotations

import re

from tests.support.benchmark import printed


def test_identity_prints_time_and_cpu_of_joining_renewing_and_connecting():
    found = printed("identity", "--clients", "10", "--rounds", "1")

    assert len(re.findall(r"(?m)^  a .*: all have it +[\d.]+ s .* s +[\d.]+x$", found)) == 3
    assert found.count("CPU of the server for each") == 3
    assert re.search(r"signing alone, one thread +\d+ µs", found)


def test_connect_prints_the_same_rows_with_mutual_tls():
    flags = ("--tls", "--services", "10", "--clients", "10", "--rounds", "1", "--only", "scoped")

    found = printed("connect", *flags)

    assert "with mutual TLS" in found.splitlines()[0]
    assert re.search(r"all have everything, cold +[\d.]+ s +[\d.]+ s +[\d.]+x", found)
