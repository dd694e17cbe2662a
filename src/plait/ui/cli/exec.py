"""``plait exec``: a command inside a workload."""

from __future__ import annotations

import os
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import click
from msgspec import convert

from plait.base import processes
from plait.ui.cli import common, targets

_EXAMPLE = """
Examples: plait exec deployment/web -- curl -s http://reviews:9080/ · plait exec web-v1-abc -- sh
"""
_LONGEST = 8000  # characters of a query, below what servers take in one line
_KUBECTLS = "As kubectl has it; needless: the command has your terminal."


@click.command(epilog=_EXAMPLE)
@click.argument("workload")
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND…", type=click.UNPROCESSED)
@click.option("-c", "--container", default="", help="Of several containers, which one.")
@click.option("-i", "--stdin", is_flag=True, expose_value=False, help=_KUBECTLS)
@click.option("-t", "--tty", is_flag=True, expose_value=False, help=_KUBECTLS)
@common.namespace
def command(workload: str, words: tuple[str, ...], container: str, namespace: str) -> None:
    """Run a command beside a workload's program: in its network, with its files and variables."""
    api = common.client()
    pod = targets.pods(api, targets.parse(workload, namespace))[0]
    query = {"container": container, "command": words}
    if len(urlencode(query, doseq=True)) > _LONGEST:
        raise click.ClickException(
            f"the command is longer than {_LONGEST} characters: write it to a file, and have a "
            f"shell read that: plait exec {workload} -n {namespace} -- sh < FILE"
        )
    with targets.expected(pod):
        path = f"/plait/v1/pods/{quote(pod.namespace)}/{quote(pod.name)}/entry"
        page = api.ask("GET", path, query=query).body
    _enter(page)


def _enter(page: dict[str, Any]) -> NoReturn:
    """Become the command.

    Raises:
        ClickException: from here it cannot be entered.
    """
    if page["machine"] != processes.machine():
        raise click.ClickException("the mesh runs on another machine: run this there")
    if page["uid"] != os.geteuid():
        raise click.ClickException(
            f"the mesh runs as user {page['uid']}: run this as that user (sudo)"
        )
    command = convert(page["command"], processes.Command)
    with command.launcher() as (launcher, request):
        os.set_inheritable(request, True)
        os.execv(launcher[0], launcher)  # noqa: S606 - what the user asked for, in our place
