"""What people do not write: what proxies report, and whom the mesh trusts."""

from __future__ import annotations

from msgspec import Struct


class Rejection(Struct, frozen=True, kw_only=True):
    """A part of a resource that Envoy refused; kept so that no proxy is handed it again.

    Attributes:
        digest: of the refused child: a virtual host, a filter chain, a cluster.
        name: of the child, for people.
        proxy: node id of the first proxy that refused it.
        error: Envoy's own words.
        accepted: the child's last accepted bytes, sent in its place; None: a stand-in that
            answers 503 is sent.
        suspect: one of several changed children of a refused resource; it is held back while the
            culprit is searched for.
        objects: keys, as printed, of what the child was made from.
        at: seconds since the epoch.
    """

    digest: str
    name: str
    proxy: str
    error: str
    accepted: bytes | None = None
    suspect: bool = False
    objects: tuple[str, ...] = ()
    at: float = 0.0


class TrustBundle(Struct, frozen=True, kw_only=True):
    """The certificates under which identities of this mesh are trusted; the row ``mesh``.

    Attributes:
        trust_domain: of the identities that are issued.
        roots: certificates in PEM; new identities are issued under the first.
    """

    trust_domain: str
    roots: tuple[str, ...]
