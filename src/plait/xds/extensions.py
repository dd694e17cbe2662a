"""What fills the slots of filter chains, over extension discovery."""

from __future__ import annotations

from plait.base.query import Query
from plait.mesh import ir
from plait.xds.resource import Absent, Answer


def extension(q: Query, view: ir.View, name: str) -> Answer:
    """The filter in the slot `name`; Absent: the slot is empty, and its default is in force."""
    del q, view, name
    return Absent()
