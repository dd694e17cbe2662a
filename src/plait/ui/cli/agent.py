"""``plait agent``: the process beside all Envoys of a machine."""

from __future__ import annotations

from pathlib import Path

import click

from plait.base import log, processes
from plait.base.errors import PlaitError
from plait.base.place import Place

_EXAMPLE = """
Example: plait agent --run /var/lib/plait/local/run --xds unix:/var/lib/plait/local/xds.sock
"""


@click.command(epilog=_EXAMPLE)
@click.option("--run", required=True, type=Path, help="Where the platform says what should run.")
@click.option("--xds", required=True, help="The control plane: HOST:PORT or unix:PATH.")
@click.option(
    "--cert-ttl",
    type=click.IntRange(min=0),
    default=0,
    help="Seconds that certificates are good; default: as the control plane gives them.",
)
@click.option("--trust-domain", default="", help="Of identities; default: the control plane's.")
@click.option("--log-level", default="info", help="debug, info, warning or error.")
@click.option("--log-format", default="logfmt", help="auto, console, logfmt or json.")
def command(run: Path, xds: str, cert_ttl: int, trust_domain: str, **logged: str) -> None:
    """Run the proxies of this machine until interrupted; plait up starts it by itself.

    It relays the control plane to each Envoy, keeps what they last accepted, answers DNS,
    restarts what crashes, and serves readiness and metrics.  Where the control plane is reached by
    a Unix socket, it gets each proxy an identity and renews it.  Proxies outlive it, and the next
    agent finds them.
    """
    from plait import settings

    settings.quiet_grpc()
    import uvloop

    from plait.agent import fleet
    from plait.agent.keeper import Plane

    processes.leave_no_core()
    try:
        log.setup(level=logged["log_level"], style=logged["log_format"])
        plane = Plane(address=xds, seconds=cert_ttl, trust_domain=trust_domain)
        uvloop.run(fleet.run(Place(run.absolute()), plane))
    except PlaitError as error:
        raise click.ClickException(str(error)) from error
