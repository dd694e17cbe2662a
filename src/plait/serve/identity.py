"""What a proxy says of itself in its first request, in the words of Istio's agents."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from plait.mesh import ir


class Node(Struct, frozen=True, kw_only=True):
    """Who is asking.

    Attributes:
        id: as the client wrote it, such as ``sidecar~10.0.0.1~web-1.demo~demo.svc.cluster.local``.
        version: of the client's program, as far as it says; empty: it does not.
        identity: what its configuration depends on.
        service_account: empty: it does not say.
    """

    id: str
    version: str
    identity: ir.Identity
    service_account: str = ""


def parse(node: Any) -> Node:
    """Read a Node message; None and whatever is missing have the defaults of a small client.

    The id is ``role~address~name.namespace~domain``; role ``router`` is a gateway and anything
    else a sidecar.  Metadata counts more than the id.
    """
    if node is None:
        return Node(id="", version="", identity=ir.Identity(role=_role(""), namespace="default"))
    role, address, name = (*node.id.split("~"), "", "", "")[:3]
    metadata = node.metadata.fields
    where = node.locality
    return Node(
        id=node.id,
        version=_version(node),
        service_account=_string(metadata, "SERVICE_ACCOUNT"),
        identity=ir.Identity(
            role=_role(role),
            namespace=_string(metadata, "NAMESPACE") or name.partition(".")[2] or "default",
            labels=_labels(metadata),
            addresses=_addresses(_string(metadata, "INSTANCE_IPS") or address),
            interception=_interception(_string(metadata, "INTERCEPTION_MODE")),
            locality=ir.Locality(region=where.region, zone=where.zone, subzone=where.sub_zone),
            network=_string(metadata, "NETWORK"),
            edge=_string(metadata, "PLAIT_EDGE"),
            addressing=_addressing(metadata),
            certified=_is_certified(metadata),
            revocations=_string(metadata, "PLAIT_CRL") == "true",
        ),
    )


def _role(word: str) -> ir.Role:
    return ir.Role.GATEWAY if word == ir.Role.GATEWAY.value else ir.Role.SIDECAR


def _interception(word: str) -> ir.Interception:
    none = ir.Interception.NONE
    return none if word == none.value else ir.Interception.REDIRECT


def _addressing(metadata: Any) -> ir.Addressing:
    """Addresses are made up for who has a resolver that knows them, unless it asks for none."""
    captured = _string(metadata, "DNS_CAPTURE") == "true"
    if captured and _string(metadata, "DNS_AUTO_ALLOCATE") != "false":
        return ir.Addressing.AUTOMATIC
    return ir.Addressing.WRITTEN


def _is_certified(metadata: Any) -> bool:
    """Whether an agent stands beside it that hands out secrets: Istio's say ``PILOT_SAN``."""
    return "PILOT_SAN" in metadata or _string(metadata, "PLAIT_SDS") == "true"


def _string(metadata: Any, key: str) -> str:
    return str(metadata[key].string_value) if key in metadata else ""


def _labels(metadata: Any) -> tuple[tuple[str, str], ...]:
    if "LABELS" not in metadata:
        return ()
    fields = metadata["LABELS"].struct_value.fields
    return tuple(sorted((key, fields[key].string_value) for key in fields))


def _addresses(listed: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in listed.split(",") if part.strip())


def _version(node: Any) -> str:
    version = node.user_agent_build_version.version
    numbers = (version.major_number, version.minor_number, version.patch)
    if any(numbers):
        return ".".join(map(str, numbers))
    return str(node.user_agent_version)
