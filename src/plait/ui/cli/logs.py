"""``plait logs``: what workloads say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from queue import Queue
from threading import Thread
from typing import Any, TypeAlias

import click

from plait.ui.cli import common, targets
from plait.ui.cli.client import Client
from plait.ui.cli.targets import Target

_EXAMPLE = """
Examples: plait logs -f deployment/reviews-v1 · plait logs web-v1-abc -c istio-proxy --tail 20
"""
_AHEAD = 1000  # lines that are read before they are printed
_Heard: TypeAlias = tuple[Target, bytes | click.ClickException]  # a line, or why there is none


@click.command(epilog=_EXAMPLE)
@click.argument("workload")
@click.option("-f", "--follow", is_flag=True, help="Go on as more is said.")
@click.option("-c", "--container", default="", help="Which container; istio-proxy: the proxy.")
@click.option("--tail", default=-1, help="How many of the last lines; -1: all.")
@click.option("-p", "--previous", is_flag=True, help="Of the run before the last restart.")
@common.namespace
def command(
    workload: str, follow: bool, container: str, tail: int, previous: bool, namespace: str
) -> None:
    """Print the log of a Pod, or of all Pods of a Deployment."""
    api = common.client()
    pods = targets.pods(api, targets.parse(workload, namespace))
    query: dict[str, Any] = {"container": container} if container else {}
    query |= {"tailLines": tail} if tail >= 0 else {}
    query |= {"follow": "true"} if follow else {}
    query |= {"previous": "true"} if previous else {}
    if len(pods) == 1:
        for line in _lines(api, pods[0], query):
            click.echo(line, nl=False)
        return
    logs = [_heard(api, pod, query) for pod in pods]
    _print(_together(logs) if follow else chain.from_iterable(logs))


def _lines(api: Client, pod: Target, query: Mapping[str, Any]) -> Iterator[bytes]:
    with targets.expected(pod):
        yield from api.stream(f"{pod.path}/log", query, _tell)


def _tell(texts: Iterable[str]) -> None:
    for text in texts:  # as kubectl says it
        click.echo(text, err=True)


def _heard(api: Client, pod: Target, query: Mapping[str, Any]) -> Iterator[_Heard]:
    try:
        for line in _lines(api, pod, query):
            yield pod, line
    except click.ClickException as error:
        yield pod, error


def _together(logs: Iterable[Iterator[_Heard]]) -> Iterator[_Heard]:
    """Several logs as they go, until all are over."""
    queue: Queue[_Heard | None] = Queue(_AHEAD)

    def read(log: Iterator[_Heard]) -> None:
        try:
            for one in log:
                queue.put(one)
        finally:
            queue.put(None)

    threads = [Thread(target=read, args=(log,), daemon=True) for log in logs]
    for thread in threads:
        thread.start()
    for _ in threads:
        yield from iter(queue.get, None)


def _print(heard: Iterable[_Heard]) -> None:
    """Print lines, each with its Pod's name before it.

    Raises:
        SystemExit: with 1: some could not be read, which is told as well.
    """
    is_whole = True
    for pod, said in heard:
        if isinstance(said, bytes):
            click.echo(f"[{pod.name}] ".encode() + said.removesuffix(b"\n"))
        else:
            click.echo(f"error: {pod.name}: {said.format_message()}", err=True)
            is_whole = False
    if not is_whole:
        raise SystemExit(1)
