"""Who speaks on a stream, by the certificate that was shown, and what that one may claim to be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from plait.serve.identity import Node

_SPIFFE: Final = re.compile(r"spiffe://([a-z0-9.-]+)/ns/([a-z0-9.-]+)/sa/([a-z0-9.-]+)")


class Caller(Struct, frozen=True, kw_only=True):
    """An identity of the mesh."""

    trust_domain: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        """The SPIFFE id."""
        place = f"ns/{self.namespace}/sa/{self.service_account}"
        return f"spiffe://{self.trust_domain}/{place}"


def caller(names: Iterable[bytes]) -> Caller | None:
    """The caller with these subject alternative names; None: not exactly one SPIFFE id."""
    texts = [name.decode(errors="replace") for name in names]
    found = [text for text in texts if text.startswith("spiffe:")]
    match = _SPIFFE.fullmatch(found[0]) if len(found) == 1 else None
    if match is None:
        return None
    return Caller(trust_domain=match[1], namespace=match[2], service_account=match[3])


def refusal(who: Caller, node: Node, trust_domain: str) -> str:
    """Why `who` may not be this node; empty: it may.

    A node is its namespace, that in its id included, and its service account.  One that does not
    say which account it has, has that of its certificate.
    """
    if who.trust_domain != trust_domain:
        return f'"{who}" is of another trust domain than "{trust_domain}"'
    if node.identity.namespace != who.namespace:
        return f'"{who}" may not be a proxy in namespace "{node.identity.namespace}"'
    if node.service_account not in ("", who.service_account):
        return f'"{who}" may not be a proxy with service account "{node.service_account}"'
    parts = node.id.split("~")
    if len(parts) != 4 or not parts[2].endswith(f".{who.namespace}"):
        return f'"{who}" may not have the node id "{node.id[:200]}"'
    return ""
