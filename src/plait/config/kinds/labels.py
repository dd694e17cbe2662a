"""Kubernetes' label selectors, and metadata of templates."""

from __future__ import annotations

from collections.abc import Mapping

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


class ObjectMeta(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Metadata of what is made from a template."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    finalizers: tuple[str, ...] = ()
    creation_timestamp: Time | None = None
