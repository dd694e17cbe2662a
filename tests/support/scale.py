"""How much a test tries: little by default, much in the long tier, always reproducible."""

from __future__ import annotations

import os


def is_long() -> bool:
    """Whether PLAIT_LONG is set to anything but 0: this is a long run."""
    return os.environ.get("PLAIT_LONG", "0") not in ("", "0")


def count(normal: int, long: int) -> int:
    """`long` in a long run, else `normal`."""
    return long if is_long() else normal


def seed() -> int:
    """The number PLAIT_SEED, 0 without it: what random tests start from."""
    return int(os.environ.get("PLAIT_SEED", "0"))
