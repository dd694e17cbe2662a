"""Connected proxies as the certificate authority sees them."""

from __future__ import annotations

from collections.abc import Iterator

from plait.config.store import Store
from plait.serve.ads import Ads
from plait.serve.ca.run import Proxies, Seen
from plait.xds.resource import SECRET, Present
from plait.xds.secrets import ROOTS, secret


def proxies(store: Store, ads: Ads) -> Proxies:
    """The proxies of a discovery service."""

    def seen() -> Iterator[Seen]:
        answer = store.engine.attempt(secret, ROOTS)
        version = answer.resource.version if isinstance(answer, Present) else None
        for session in ads.sessions():
            if session.node is not None and session.node.identity.certified:
                holds = session.holds(SECRET, ROOTS) == version
                yield Seen(proxy=session.node.id, holds=holds)

    return Proxies(seen=seen, follow=ads.follow)
