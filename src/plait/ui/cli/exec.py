"""``plait exec``: a command inside a workload."""

from __future__ import annotations

import os

import click

from plait.ui.cli import common, targets

_EXAMPLE = """
Examples: plait exec deployment/web -- curl -s http://reviews:9080/ · plait exec web-v1-abc -- sh
"""


@click.command(epilog=_EXAMPLE, context_settings={"ignore_unknown_options": True})
@click.argument("workload")
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND…", type=click.UNPROCESSED)
@click.option("-c", "--container", default="", help="Of several containers, which one.")
@common.namespace
def command(workload: str, words: tuple[str, ...], container: str, namespace: str) -> None:
    """Run a command beside a workload's program: in its network, with its files and variables."""
    target = targets.parse(workload, namespace)
    api = common.client()
    pod = targets.pods(api, target)[0]
    query = {"container": container, "command": words}
    page = api.ask("GET", f"/plait/v1/pods/{namespace}/{pod}/entry", query=query).body
    if os.geteuid() != page["uid"]:
        raise click.ClickException(
            f"the mesh runs as user {page['uid']}: run this as that user, on its machine (sudo)"
        )
    launcher = page["command"]
    os.execv(launcher[0], launcher)  # noqa: S606 - what the user asked for, in our place
