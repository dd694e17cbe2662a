"""Who speaks on a stream, by the certificate that was shown, and what that one may claim to be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from plait.serve.ca import spiffe
from plait.serve.ca.spiffe import Identity
from plait.serve.identity import Node

_SHOWN: Final = 200  # characters of a claim: it may have millions, and is logged and remembered


def caller(uris: Sequence[bytes]) -> Identity | None:
    """The caller whose certificate has these URIs; None: not exactly one, or no SPIFFE id."""
    return spiffe.parse(uris[0].decode(errors="replace")) if len(uris) == 1 else None


def refusal(who: Identity, node: Node, trust_domains: Collection[str]) -> str:
    """Why `who` may not be this node; empty: it may.

    A node is its namespace, that in its id included, and its service account.  One that does not
    say which account it has, has that of its certificate.  That may be of a former trust domain,
    which is an alias now, until it is renewed.
    """
    if who.trust_domain not in trust_domains:
        known = '", "'.join(trust_domains)
        return f'"{who}" is of another trust domain than "{known}"'
    if (space := node.identity.namespace) != who.namespace:
        return f'"{who}" may not be a proxy in namespace "{space[:_SHOWN]}"'
    if (account := node.service_account) not in ("", who.account):
        return f'"{who}" may not be a proxy with service account "{account[:_SHOWN]}"'
    parts = node.id.split("~")
    if len(parts) != 4 or not parts[2].endswith(f".{who.namespace}"):
        return f'"{who}" may not have the node id "{node.id[:_SHOWN]}"'
    return ""
