"""What fills the slots of filter chains, over extension discovery."""

from __future__ import annotations

from plait.base.query import Query
from plait.mesh import ir
from plait.xds.resource import Answer, Pending


def extension(q: Query, view: ir.View, name: str) -> Answer:
    """The filter in the slot `name`; Pending: it is empty, and its default stays in force.

    A default needs no answer, and a proxy that comes back is not told again that there is none.
    """
    del q, view, name
    return Pending()
