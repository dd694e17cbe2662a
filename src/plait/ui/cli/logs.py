"""``plait logs``: what workloads say."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from typing import Any

import click

from plait.ui.cli import common, targets
from plait.ui.cli.client import Client

_EXAMPLE = """
Examples: plait logs -f deployment/reviews-v1 · plait logs web-v1-abc -c istio-proxy --tail 20
"""


@click.command(epilog=_EXAMPLE)
@click.argument("workload")
@click.option("-f", "--follow", is_flag=True, help="Go on as more is said.")
@click.option("-c", "--container", default="", help="Which container; istio-proxy: the proxy.")
@click.option("--tail", type=click.IntRange(min=0), help="Only the last lines.")
@click.option("-p", "--previous", is_flag=True, help="Of the run before the last restart.")
@common.namespace
def command(
    workload: str,
    follow: bool,
    container: str,
    tail: int | None,
    previous: bool,
    namespace: str,
) -> None:
    """Print the log of a Pod, or of all Pods of a Deployment."""
    api = common.client()
    names = targets.pods(api, targets.parse(workload, namespace))
    query: dict[str, Any] = {"container": container} if container else {}
    query |= {"tailLines": tail} if tail is not None else {}
    query |= {"follow": "true"} if follow else {}
    query |= {"previous": "true"} if previous else {}
    streams = [(name, _lines(api, namespace, name, query)) for name in names]
    if len(streams) == 1:
        _print("", streams[0][1])
    elif follow:
        _together(streams)
    else:
        for name, lines in streams:
            _print(f"[{name}] ", lines)


def _lines(api: Client, namespace: str, pod: str, query: dict[str, Any]) -> Iterator[bytes]:
    return api.stream(f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query)


def _print(prefix: str, lines: Iterator[bytes]) -> None:
    for line in lines:
        text = line.decode(errors="replace")
        click.echo(f"{prefix}{text}", nl=not text.endswith("\n"))


def _together(streams: list[tuple[str, Iterator[bytes]]]) -> None:
    """Several logs as they go, each line with its Pod's name; until all are over."""
    threads = [
        Thread(target=_print, args=(f"[{name}] ", lines), daemon=True) for name, lines in streams
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
