"""``plait serve``: the control plane in the foreground."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import click

from plait.base import log, processes
from plait.base.errors import PlaitError

_EXAMPLE = """
Example, which serves what stands in a directory and follows it:
plait serve -f mesh/ --data /tmp/plait
"""


@click.command(epilog=_EXAMPLE)
@click.option("-f", "--files", type=Path, help="Directory (or file) of YAML to follow.")
@click.option("--mesh-config", type=Path, help="File with Istio's MeshConfig to follow.")
@click.option("--local", is_flag=True, default=None, help="Run the workloads on this machine.")
@click.option("--images", type=Path, help="File that says what images are, with --local.")
@click.option("--ca-dir", type=Path, help="Certificate authority of your own, in Istio's files.")
@click.option("--data", type=Path, help="Directory of the database and sockets.")
@click.option("--xds", multiple=True, help="Where proxies are served: HOST:PORT or unix:PATH.")
@click.option("--api", multiple=True, help="Where the API is served: HOST:PORT or unix:PATH.")
@click.option("--api-user", multiple=True, help="Another user of this machine for it; *: all.")
@click.option("--xds-tls", multiple=True, help="HOST:PORT for proxies with certificates.")
@click.option("--join", multiple=True, help="HOST:PORT where machines get their first one.")
@click.option("--xds-name", multiple=True, help="Another name of this control plane.")
@click.option("--insecure-xds", is_flag=True, default=None, help="Open --xds to other machines.")
@click.option("--api-tls", is_flag=True, default=None, help="The API wants TLS and tokens.")
@click.option("--api-cert", type=Path, help="Its certificate chain; default: the mesh's own.")
@click.option("--api-key", type=Path, help="The key of that.")
@click.option("--settings", type=Path, help="Settings file (TOML).")
@click.option("--log-level", help="debug, info, warning or error.")
@click.option("--log-format", help="auto, console, logfmt or json.")
def command(**flags: Any) -> None:
    """Run the control plane until it is interrupted."""
    from plait import settings

    settings.quiet_grpc()
    gc.disable()  # a fifth of the start otherwise; `app` looks for garbage when there may be some
    from plait import app

    processes.leave_no_core()
    processes.share_memory()
    try:
        found = settings.load(flags)
        log.setup(level=found.log_level, style=found.log_format)
        _loop().run(app.run(found))
    except PlaitError as error:
        raise click.ClickException(str(error)) from error


def _loop() -> Any:
    import uvloop

    return uvloop
