"""What names mean, as bytes."""

from __future__ import annotations

import pytest

from plait.xds import dns_table, protos

RECORDS = {
    "b.demo.svc.cluster.local": ("10.96.0.2", "10.96.0.1"),
    "a.demo.svc.cluster.local": (),
    "*.example.com": ("240.240.0.1",),
}


def test_a_table_comes_back_as_it_was():
    assert dns_table.decode(dns_table.encode(RECORDS)) == RECORDS


def test_equal_tables_give_equal_bytes():
    turned = dict(reversed(RECORDS.items()))

    assert dns_table.encode(turned) == dns_table.encode(RECORDS)


def test_what_is_no_table_is_refused():
    with pytest.raises(protos.DecodeError):
        dns_table.decode(b"\xff\xff\xff")
