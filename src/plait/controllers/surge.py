"""The arithmetic of a rolling update: how many Pods may be too many, and how many too few."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from plait.config.kinds.units import IntOrString
from plait.config.kinds.workloads import DeploymentStrategy, RollingUpdateDeployment

_QUARTER = 25  # percent


class Limits(Struct, frozen=True, kw_only=True):
    """Numbers of Pods.

    Attributes:
        surge: that there may be beyond those wanted.
        unavailable: of those wanted that may be missing.
    """

    surge: int
    unavailable: int


class Size(Struct, frozen=True, kw_only=True):
    """One ReplicaSet: how many Pods it shall have, and how many of them are available."""

    size: int
    available: int


def limits(strategy: DeploymentStrategy, wanted: int) -> Limits:
    """The limits of a strategy; percentages of the surge are rounded up, the others down."""
    if strategy.type == "Recreate":
        return Limits(surge=0, unavailable=0)
    written = strategy.rolling_update or RollingUpdateDeployment()
    surge = _number(written.max_surge, wanted, up=True)
    unavailable = min(_number(written.max_unavailable, wanted, up=False), wanted)
    if not surge and not unavailable:
        unavailable = 1  # else nothing could ever be replaced
    return Limits(surge=surge, unavailable=unavailable)


def grown(size: int, total: int, wanted: int, allowed: Limits) -> int:
    """The next size of the new ReplicaSet, of `total` Pods that all shall have together."""
    if size >= wanted:
        return wanted
    return min(wanted, size + max(0, wanted + allowed.surge - total))


def shrunk(old: Sequence[Size], new: Size, wanted: int, allowed: Limits) -> list[int]:
    """The next sizes of the old ReplicaSets, the oldest first.

    Pods that are not available go first, since nobody misses them.
    """
    floor = wanted - allowed.unavailable
    total = new.size + sum(one.size for one in old)
    spare = total - floor - (new.size - new.available)
    sizes = []
    for one in old:
        sick = max(0, min(one.size - one.available, spare))
        spare -= sick
        sizes.append(one.size - sick)
    spare = min(spare, new.available + sum(one.available for one in old) - floor)
    for place, size in enumerate(sizes):
        taken = max(0, min(size, spare))
        spare -= taken
        sizes[place] = size - taken
    return sizes


def _number(written: IntOrString | None, wanted: int, *, up: bool) -> int:
    """A number, or a percentage of those wanted; what is neither counts as the default."""
    if isinstance(written, int):
        return max(0, written)
    share = written.removesuffix("%") if written and written.endswith("%") else ""
    hundredths = wanted * (int(share) if share.isascii() and share.isdecimal() else _QUARTER)
    return -(-hundredths // 100) if up else hundredths // 100
