"""``plait down``: end what ``plait up`` started."""

from __future__ import annotations

from pathlib import Path

import click

from plait.ui.cli.local import Machine

_EXAMPLE = """
Examples: plait down · plait down --keep-data
"""


@click.command(epilog=_EXAMPLE)
@click.option("--data", type=Path, help="Directory that was given to plait up.")
@click.option("--keep-data", is_flag=True, help="Keep the history, and what came by the API.")
def command(data: Path | None, keep_data: bool) -> None:
    """End the mesh of this machine: workloads, proxies, agent and control plane.

    Nothing is left: no process, network namespace, socket or file; also after a crash.
    """
    from plait import settings
    from plait.platforms.local.sweep import sweep

    machine = Machine(data or settings.local_data())
    if not machine.directory.is_ours():
        click.echo("nothing runs here")
        return
    machine.stop()
    with machine.directory.owned():
        sweep(machine.place.run)
        if not keep_data:
            machine.directory.forget()
    click.echo("stopped; nothing is left")
