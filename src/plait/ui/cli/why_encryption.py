"""What is spoken with a resource, and who says so, as lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_NAMELESS = 0  # the port that stands for all that nothing names


def lines(said: dict[str, Any]) -> Iterator[str]:
    """One for the calling end, one for each group of endpoints, one for each serving port."""
    if caller := said.get("caller"):
        where = " where the endpoint takes it" if caller["automatic"] else ""
        mode = f"{caller['mode']}  " if caller["mode"] else ""
        yield f"calls by {caller['speaks']}{where}: {mode}{_reason(caller)}"
        for group in said["servers"]:
            yield f"  {_group(group)}"
        if not said["servers"]:
            yield "  no endpoint is ready"
    for port in said.get("ports", []):
        name = "ports that nothing names" if port["port"] == _NAMELESS else f"port {port['port']}"
        yield f"{name}: {port['mode']}  {_reason(port)}"


def _group(group: dict[str, Any]) -> str:
    count = group["endpoints"]
    number = "1 endpoint" if count == 1 else f"{count} endpoints"
    place = f" in {group['namespace']}" if group["namespace"] else ""
    start = f"{number} of {group['workload']}{place}: {group['speaks']}"
    if "mode" not in group:
        return f"{start}; {group['because']}"
    sidecar = "" if group["sidecar"] else "; it does not say that it takes mutual TLS"
    problem = f"; {group['problem']}" if group["problem"] else ""
    port = f"port {group['port']} is {group['mode']}  {_reason(group)}"
    return f"{start}; {port}{sidecar}{problem}"


def _reason(one: dict[str, Any]) -> str:
    if not one["by"]:
        return str(one["because"])
    more = f"; {one['because']}" if one["because"] else ""
    return f"{one['by']} {one['path']}  {one['locator']}{more}"
