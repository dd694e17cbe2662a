"""``plait agent``: the process beside all Envoys of a machine."""

from __future__ import annotations

from pathlib import Path

import click

from plait.base import log
from plait.base.errors import PlaitError
from plait.base.place import Place

_EXAMPLE = """
Example: plait agent --run /var/lib/plait/local/run --xds unix:/var/lib/plait/local/xds.sock
"""


@click.command(epilog=_EXAMPLE)
@click.option("--run", required=True, type=Path, help="Where the platform says what should run.")
@click.option("--xds", required=True, help="The control plane: HOST:PORT or unix:PATH.")
@click.option("--log-level", default="info", help="debug, info, warning or error.")
@click.option("--log-format", default="logfmt", help="auto, console, logfmt or json.")
def command(run: Path, xds: str, log_level: str, log_format: str) -> None:
    """Run the proxies of this machine until interrupted; plait up starts it by itself.

    It relays the control plane to each Envoy, keeps what they last accepted, answers DNS,
    restarts what crashes, and serves readiness and metrics.  Proxies outlive it, and the next
    agent finds them.
    """
    from plait import settings

    settings.quiet_grpc()
    import uvloop

    from plait.agent import fleet

    try:
        log.setup(level=log_level, style=log_format)
        uvloop.run(fleet.run(Place(run.absolute()), xds))
    except PlaitError as error:
        raise click.ClickException(str(error)) from error
