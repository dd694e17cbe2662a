"""Secrets that proxies ask for by name: whom the mesh trusts."""

from __future__ import annotations

from typing import Final

from plait.base.digest import digest
from plait.base.query import Query
from plait.config.kinds.observed import TrustBundle
from plait.xds import protos
from plait.xds.resource import SECRET, Absent, Answer, Child, Present, leaf

ROOTS: Final = "ROOTCA"
"""Name of the certificates under which the mesh's identities are trusted, as in Istio."""


def secret(q: Query, name: str) -> Answer:
    """A secret; Absent: there is none of that name, or not for proxies."""
    found: TrustBundle | None = q.row("TrustBundle", "mesh") if name == ROOTS else None
    if found is None:
        return Absent()
    message = protos.Secret(name=name)
    message.validation_context.trusted_ca.inline_bytes = "".join(found.roots).encode()
    body = protos.encode(message)
    return Present(resource=leaf(SECRET, Child(name=name, digest=digest(body), body=body)))
