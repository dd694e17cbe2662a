"""Kubernetes' Secret."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from plait.config.kinds.units import Octets


class Secret(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Bytes by name that only some may know; printing one never shows them.

    Attributes:
        type: what the names mean, such as ``kubernetes.io/tls``; empty: ``Opaque``.
        string_data: texts that are written without base64; one beats `data` of the same name.
        immutable: what is stored cannot be changed, only deleted.
    """

    type: str = ""
    data: Mapping[str, Octets] = {}
    string_data: Mapping[str, str] = {}
    immutable: bool | None = None

    @property
    def values(self) -> dict[str, bytes]:
        """The bytes by name."""
        return {
            **self.data,
            **{name: text.encode(errors="replace") for name, text in self.string_data.items()},
        }

    def __repr__(self) -> str:
        """Type and names only."""
        return f"Secret(type={self.type!r}, names={sorted(self.values)})"
