"""How much a test tries: little by default, much in the long tier, always reproducible."""

from __future__ import annotations

import os


def count(normal: int, long: int) -> int:
    """`long` if PLAIT_LONG is set to anything but 0, else `normal`."""
    return normal if os.environ.get("PLAIT_LONG", "0") in ("", "0") else long


def seed() -> int:
    """The number PLAIT_SEED, 0 without it: what random tests start from."""
    return int(os.environ.get("PLAIT_SEED", "0"))
