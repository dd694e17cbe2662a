"""``plait describe``: one object, how it stands, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import click

from plait.ui.cli import common, output
from plait.ui.cli.client import Client, Resource

_EXAMPLE = """
Examples: plait describe vs/reviews · plait describe vs
"""


@click.command(epilog=_EXAMPLE)
@click.argument("what", nargs=-1, required=True, metavar="KIND [NAME…] | KIND/NAME…")
@common.namespace
def command(what: tuple[str, ...], namespace: str) -> None:
    """Show an object with its conditions, findings and conflicts, each at its place."""
    api = common.client()
    status = api.ask("GET", "/plait/v1/status").body
    faults = api.ask("GET", "/plait/v1/faults").body
    for resource, names in common.named(api, what):
        for name in names or _all(api, resource, namespace):
            found = api.ask("GET", resource.path(namespace, name)).body
            space = found["metadata"].get("namespace")
            key = f"{resource.kind} {space}/{name}" if space else f"{resource.kind} {name}"
            click.echo("\n".join(_lines(found, key, status, faults)))


def _all(api: Client, resource: Resource, namespace: str) -> tuple[str, ...]:
    page = api.ask("GET", resource.path(namespace)).body
    return tuple(one["metadata"]["name"] for one in page["items"])


def _lines(
    found: dict[str, Any], key: str, status: dict[str, Any], faults: dict[str, Any]
) -> list[str]:
    metadata = found["metadata"]
    lines = [
        f"{key}  ({found['apiVersion']})",
        (
            f"revision {metadata.get('resourceVersion', '-')},"
            f" generation {metadata.get('generation', '-')},"
            f" created {metadata.get('creationTimestamp', '-')}"
        ),
    ]
    if labels := metadata.get("labels"):
        lines.append("labels: " + ", ".join(f"{k}={v}" for k, v in sorted(labels.items())))
    lines += ["", "Conditions:"]
    conditions = found.get("status", {}).get("conditions", [])
    rows = [[f"  {c['type']}", c["status"], c.get("message") or "-"] for c in conditions]
    lines.append(output.table(["  TYPE", "STATUS", "MESSAGE"], rows) if rows else "  none")
    lines += _containers(found.get("status", {}))
    lines += _findings(key, status) + _conflicts(key, faults)
    rest = {k: v for k, v in found.items() if k not in ("metadata", "status", "apiVersion", "kind")}
    if found["kind"] == "Secret":
        rest["data"] = dict.fromkeys(rest.get("data") or (), "<hidden>")
    return [*lines, "", output.data(rest, "yaml"), ""]


def _containers(status: dict[str, Any]) -> list[str]:
    """How the containers of a Pod do."""
    kinds = ("initContainerStatuses", "containerStatuses")
    every = [one for kind in kinds for one in status.get(kind, ())]
    rows = [
        [
            f"  {one['name']}",
            str(one.get("ready", False)),
            str(one.get("restartCount", 0)),
            _state(one.get("state", {})),
        ]
        for one in every
    ]
    header = ["  NAME", "READY", "RESTARTS", "STATE"]
    return ["", "Containers:", output.table(header, rows)] if rows else []


def _state(state: dict[str, Any]) -> str:
    if (waiting := state.get("waiting")) is not None:
        words = [waiting.get("reason", "Waiting"), waiting.get("message", "")]
    elif (running := state.get("running")) is not None:
        words = [f"Running since {running.get('startedAt', '-')}"]
    elif (ended := state.get("terminated")) is not None:
        how = f"{ended.get('reason', 'Ended')} with {ended.get('exitCode', 0)}"
        words = [how, ended.get("message", "")]
    else:
        words = ["Waiting"]
    return ": ".join(filter(None, words))


def _findings(key: str, status: dict[str, Any]) -> list[str]:
    for one in status["objects"]:
        if one["object"] == key:
            found = [
                f"  {f['severity']} {f['locator']}: {f['code']} "
                + (f"{f['path']}: " if f["path"] else "")
                + f["message"]
                + (f". {f['hint']}" if f["hint"] else "")
                for f in one["findings"]
            ]
            refused = [
                f"  Envoy refused {r['part']} ({r['proxy']}): {r['error']}"
                for r in one["rejections"]
            ]
            return ["", "Findings:", *found, *refused]
    return []


def _conflicts(key: str, faults: dict[str, Any]) -> list[str]:
    for one in faults["conflicts"]:
        if one["object"] == key:
            others = ", ".join(f"{o['source']} ({o['locator']})" for o in one["others"])
            return ["", f"Also defined by: {others}; in force: {one['inForce']['source']}"]
    return []
