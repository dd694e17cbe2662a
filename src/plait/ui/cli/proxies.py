"""How connected proxies stand, in words: in sync, or what differs, since when and why."""

from __future__ import annotations

from typing import Any

from plait.ui.cli import output

_NAMES = 3  # names shown of those that differ


def name(proxy: dict[str, Any]) -> str:
    """What a user calls a proxy: ``name.namespace`` of its workload, else its id or address."""
    return str((*proxy["id"].split("~"), "", "", "")[2] or proxy["id"] or proxy["address"])


def late(proxy: dict[str, Any]) -> list[dict[str, Any]]:
    """The types in which it does not have everything."""
    return [one for one in proxy["types"] if not one["synced"]]


def state(proxy: dict[str, Any]) -> str:
    """``SYNCED``, ``BEHIND``, or ``REFUSED`` if what is missing was refused."""
    missing = late(proxy)
    if any(one["refused"] for one in missing):
        return "REFUSED"
    return "BEHIND" if missing else "SYNCED"


def details(proxy: dict[str, Any]) -> str:
    """What it does not have, and what it last refused; empty: nothing of the two."""
    said = [_behind(one) for one in late(proxy)]
    said += [
        f"last refused {output.age(one['error_age'])} ago: {one['error']}"
        for one in proxy["types"]
        if one["error"]
    ]
    return "; ".join(said)


def _behind(one: dict[str, Any]) -> str:
    names = one["refused"] or one["behind"]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return f"{one['type']}: {', '.join(names[:_NAMES]) or 'not asked yet'}{more}"
