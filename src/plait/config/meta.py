"""What every object has: its name, where it was read, its labels and its owners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from msgspec import Struct

Spec = TypeVar("Spec")


class Key(Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """Names one object; `namespace` is empty for kinds that have none.

    Printed ``VirtualService demo/reviews``; the group keeps kinds of equal name apart (Istio and
    the Gateway API both have a Gateway).
    """

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Kind and name as a person says them."""
        return f"{self.kind} {self.path}"

    @property
    def path(self) -> str:
        """``namespace/name``, or ``name`` where the kind has no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Origin(Struct, frozen=True, kw_only=True, gc=False):
    """Where an object was read; for people, never for queries.

    Attributes:
        source: name of the `Source`, such as ``files`` or ``api``.
        locator: the place in it, such as ``mesh/reviews.yaml:9`` or ``resourceVersion 8812``.
    """

    source: str
    locator: str = ""

    def __str__(self) -> str:
        """The locator, or the source where it has none."""
        return self.locator or self.source


class Owner(Struct, frozen=True, kw_only=True, gc=False):
    """A Kubernetes owner reference: the object that this one lives and dies with."""

    key: Key
    uid: str = ""
    controller: bool = False


class Object(Struct, Generic[Spec], frozen=True, kw_only=True):
    """One configuration object as queries see it.

    What changes without meaning (resource version, generation, managed fields, status) is not
    here but in the store's `Record`, so that a resync of equal content is no change at all.

    Attributes:
        created: seconds since the epoch; the older object wins a conflict, then the lesser key.
        deleted: seconds since the epoch while finalizers hold it; None: not being deleted.
    """

    key: Key
    spec: Spec
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    uid: str = ""
    owners: tuple[Owner, ...] = ()
    created: float = 0.0
    finalizers: tuple[str, ...] = ()
    deleted: float | None = None
