"""``plait scale``: how many Pods a Deployment has."""

from __future__ import annotations

import click

from plait.ui.cli import common, rollouts, targets

_EXAMPLE = """
Examples: plait scale deployment/reviews-v1 --replicas 3 · plait scale details-v1 --replicas 0
"""
_MERGE = "application/merge-patch+json"


@click.command(epilog=_EXAMPLE)
@click.argument("deployment")
@click.option("--replicas", required=True, type=click.IntRange(min=0), help="How many Pods.")
@click.option("--wait", is_flag=True, help="Return when they are ready.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait at most.")
@common.namespace
def command(deployment: str, replicas: int, wait: bool, timeout: float, namespace: str) -> None:
    """Set the number of Pods of a Deployment."""
    target = targets.deployment(deployment, namespace)
    api = common.client()
    body = {"spec": {"replicas": replicas}}
    headers = {"Content-Type": _MERGE}
    with targets.expected(target):
        answer = api.ask("PATCH", f"{target.path}/scale", body, headers=headers)
    common.warn(answer.warnings)
    click.echo(f"{target} scaled")
    if wait:
        rollouts.until_ready(api, target, timeout)
