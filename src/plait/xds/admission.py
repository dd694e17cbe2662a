"""What Envoy refused once is not sent again: the last accepted form, or a stand-in, is."""

from __future__ import annotations

from plait.base.digest import digest
from plait.base.query import Query
from plait.config.kinds.observed import Rejection
from plait.xds.resource import Child


def admitted(q: Query, child: Child, stand_in: Child | None) -> Child | None:
    """`child`, unless Envoy refused these very bytes.

    Then its last accepted form; where there is none, or it was refused too, `stand_in`; None:
    the child is left out.
    """
    refused: Rejection | None = q.row("Rejection", child.digest)
    if refused is None:
        return child
    if refused.accepted is None:
        return stand_in
    earlier = digest(refused.accepted)
    if q.row("Rejection", earlier) is not None:
        return stand_in
    return Child(name=child.name, digest=earlier, body=refused.accepted, origin=child.origin)
