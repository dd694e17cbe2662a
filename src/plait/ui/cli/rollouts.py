"""Waiting until the Pods of a Deployment are as it wants them."""

from __future__ import annotations

import time
from typing import Any

import click

from plait.ui.cli import targets
from plait.ui.cli.client import Client
from plait.ui.cli.targets import Target

_TICK = 0.1  # seconds between two looks


def until_ready(api: Client, target: Target, seconds: float) -> None:
    """Return when every Pod is of the newest template and ready, and no other is left.

    Raises:
        ClickException: it takes longer.
    """
    deadline = time.monotonic() + seconds
    while True:
        with targets.expected(target):
            found = api.ask("GET", target.path).body
        wanted, have = found["spec"].get("replicas", 1), _status(found)
        if have == (found["metadata"]["generation"], wanted, wanted, wanted):
            click.echo(f"{wanted} of {wanted} ready")
            return
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"{target}: {have[2]} of {wanted} ready after {seconds:g} s; see: plait status"
            )
        time.sleep(_TICK)


def _status(found: dict[str, Any]) -> tuple[int, int, int, int]:
    """Generation that was seen, Pods of the newest template, ready Pods, all Pods."""
    status = found.get("status") or {}
    names = ("observedGeneration", "updatedReplicas", "readyReplicas", "replicas")
    seen, updated, ready, total = (int(status.get(name, 0)) for name in names)
    return seen, updated, ready, total
