"""Kubernetes' label selectors, and the metadata of objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from plait.config.kinds.units import Time


class LabelSelectorRequirement(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A condition on one label: In, NotIn, Exists or DoesNotExist."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Conditions on labels that must all hold; none: everything."""

    match_labels: Mapping[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class OwnerReference(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An object that this one lives and dies with, in the same namespace or in none."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Metadata of an object, or of what is made from a template; moments in epoch seconds."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    deletion_grace_period_seconds: int | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    managed_fields: tuple[Any, ...] = ()
    self_link: str = ""
