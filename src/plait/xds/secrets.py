"""Secrets that proxies ask for by name: whom the mesh trusts, and what is shown to others."""

from __future__ import annotations

from typing import Any, Final

from plait.base.digest import digest
from plait.base.query import Query
from plait.config.credentials import Flaw
from plait.config.kinds.observed import TrustBundle
from plait.config.meta import Key
from plait.mesh import client_tls, credentials
from plait.xds import protos
from plait.xds.resource import SECRET, Absent, Answer, Child, Present, leaf

ROOTS: Final = "ROOTCA"
"""Name of the certificates under which the mesh's identities are trusted, as in Istio."""


def secret(q: Query, name: str) -> Answer:
    """A secret of the mesh; Absent: there is none of that name."""
    found: TrustBundle | None = q.row("TrustBundle", "mesh") if name == ROOTS else None
    if found is None:
        return Absent()
    message = protos.Secret(name=name)
    message.validation_context.trusted_ca.inline_bytes = "".join(found.roots).encode()
    return _present(message)


def of_rules(q: Query, namespace: str, keys: tuple[Key, ...], name: str) -> Answer:
    """A secret ``kubernetes://NAME`` for workloads of a namespace that these rules select.

    Absent: none of them names it, or as with `of_namespace`.
    """
    named = any(one.name == name for one in q(client_tls.secrets, namespace, keys))
    return q(of_namespace, namespace, name) if named else Absent()


def of_namespace(q: Query, namespace: str, name: str) -> Answer:
    """A secret ``kubernetes://NAME`` for the gateways of a namespace.

    Absent: the Secret is missing or cannot be used; then no listener or cluster asks for it either.
    """
    wanted = name.removeprefix(credentials.KUBERNETES)
    message = protos.Secret(name=name)
    if wanted.endswith(credentials.AUTHORITIES):
        roots = q(credentials.roots, namespace, wanted)
        if isinstance(roots, Flaw):
            return Absent()
        message.validation_context.trusted_ca.inline_bytes = roots.certificates
        if roots.revoked:
            message.validation_context.crl.inline_bytes = roots.revoked
        return _present(message)
    pair = q(credentials.pair, namespace, wanted)
    if isinstance(pair, Flaw):
        return Absent()
    message.tls_certificate.certificate_chain.inline_bytes = pair.certificate
    message.tls_certificate.private_key.inline_bytes = pair.key
    return _present(message)


def _present(message: Any) -> Present:
    body = protos.encode(message)
    child = Child(name=message.name, digest=digest(body), body=body)
    return Present(resource=leaf(SECRET, child))
