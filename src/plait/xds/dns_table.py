"""What DNS names mean, as bytes between control plane and agent: Envoy's ``DnsTable``.

It stands apart from the queries that make it, because the agent reads it.
"""

from __future__ import annotations

from collections.abc import Mapping

from plait.xds import protos

Records = Mapping[str, tuple[str, ...]]
"""By full name or wildcard, in lower case and without a last dot: its addresses.

None: the name is there and has none.  What is no address is the name that it is another word for.
"""


def encode(records: Records) -> bytes:
    """A serialised DnsTable, the names in order."""
    table = protos.DnsTable()
    for name in sorted(records):
        addresses = {"address": records[name]}
        table.virtual_domains.add(name=name, endpoint={"address_list": addresses})
    return protos.encode(table)


def decode(body: bytes) -> Records:
    """What `encode` was given.

    Raises:
        DecodeError: it is no DnsTable.
    """
    table = protos.DnsTable.FromString(body)
    return {one.name: tuple(one.endpoint.address_list.address) for one in table.virtual_domains}
