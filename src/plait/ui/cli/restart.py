"""``plait restart``: new Pods in place of a Deployment's old ones."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from plait.ui.cli import common, rollouts, targets

_EXAMPLE = """
Example: plait restart deployment/reviews-v1 --wait
"""
_MERGE = "application/merge-patch+json"
_MARK = "kubectl.kubernetes.io/restartedAt"


@click.command(epilog=_EXAMPLE)
@click.argument("deployment")
@click.option("--wait", is_flag=True, help="Return when the new Pods are ready.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait at most.")
@common.namespace
def command(deployment: str, wait: bool, timeout: float, namespace: str) -> None:
    """Replace the Pods of a Deployment one after the other, as its strategy says."""
    target = targets.deployment(deployment, namespace)
    api = common.client()
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    template = {"metadata": {"annotations": {_MARK: now}}}
    headers = {"Content-Type": _MERGE}
    with targets.expected(target):
        body = {"spec": {"template": template}}
        answer = api.ask("PATCH", target.path, body, headers=headers)
    common.warn(answer.warnings)
    click.echo(f"{target} restarted")
    if wait:
        rollouts.until_ready(api, target, timeout)
