"""Digests of content: equal bytes have equal digests on every replica and after a restart."""

from __future__ import annotations

import xxhash


def digest(*parts: bytes) -> str:
    """128-bit xxh3 of the parts joined, as 32 hexadecimal digits."""
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part)
    return state.hexdigest()
