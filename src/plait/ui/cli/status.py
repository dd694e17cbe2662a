"""``plait status``: is everything in force everywhere, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from plait.ui.cli import common, output, proxies
from plait.ui.cli.client import Client

_EXAMPLE = """
Examples: plait status · plait status --watch · plait status --exit-code -o json
"""


@click.command(epilog=_EXAMPLE)
@click.option(
    "-o", "--output", "form", type=click.Choice(["table", "json", "yaml"]), default="table"
)
@click.option("-w", "--watch", is_flag=True, help="Print again whenever something changes.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything is not as it should be.")
def command(form: str, watch: bool, exit_code: bool) -> None:
    """A line for each workload and proxy, then each object, file and query with a problem."""
    api = common.client()
    if watch:
        for page in api.follow("/plait/v1/status", {}):
            _print(page | _running(api), form)
            click.echo()
        raise click.ClickException("the control plane ended the watch")
    page = api.ask("GET", "/plait/v1/status").body | _running(api)
    _print(page, form)
    if exit_code and _is_troubled(page):
        raise SystemExit(1)


def _print(page: dict[str, Any], form: str) -> None:
    if form != "table":
        click.echo(output.data(page, form))
        return
    if page["workloads"]:
        rows = [_workload(one) for one in page["workloads"]]
        click.echo(output.table(["WORKLOAD", "READY", "RESTARTS", "STATUS"], rows))
        for door in page["doors"]:
            click.echo(f"http://{door['address']}   {_door(door)}")
        click.echo()
    if page["proxies"]:
        rows = [_row(proxy) for proxy in page["proxies"]]
        click.echo(output.table(["PROXY", "ROLE", "STATUS", "SINCE", "REVISION", "DETAIL"], rows))
    else:
        click.echo("no proxy is connected")
    for line in _troubles(page):
        click.echo(line)


def _running(api: Client) -> dict[str, Any]:
    """The page of workloads."""
    found: dict[str, Any] = api.ask("GET", "/plait/v1/workloads").body
    return found


def _workload(one: dict[str, Any]) -> list[Any]:
    restarts = sum(instance["restarts"] for instance in one["instances"])
    said = [_said(instance) for instance in one["instances"] if not instance["ready"]]
    state = one["message"] or "; ".join(said) or ("Running" if one["desired"] else "Scaled to 0")
    return [
        f"{one['namespace']}/{one['name']}",
        f"{one['ready']}/{one['desired']}",
        restarts,
        state,
    ]


def _said(instance: dict[str, Any]) -> str:
    if instance["reason"]:
        return f"{instance['reason']}: {instance['message']}"
    return str(instance["message"] or instance["phase"])


def _door(door: dict[str, Any]) -> str:
    return "open" if door["open"] else door["problem"] or "opening"


def _row(proxy: dict[str, Any]) -> list[Any]:
    role = {"router": "gateway"}.get(proxy["role"], proxy["role"])
    late = proxies.late(proxy)
    since = max((one["since"] or 0.0 for one in late), default=proxy["connected"])
    name, state, detail = proxies.name(proxy), proxies.state(proxy), proxies.details(proxy)
    return [name, role, state, output.age(since), proxy["delivered"], detail or "-"]


def _troubles(page: dict[str, Any]) -> Iterator[str]:
    for one in page["objects"]:
        for finding in one["findings"]:
            path = f"{finding['path']}: " if finding["path"] else ""
            hint = f". {finding['hint']}" if finding["hint"] else ""
            yield (
                f"{finding['severity']} {one['object']} ({finding['locator']}): "
                f"{finding['code']} {path}{finding['message']}{hint}"
            )
        for refused in one["rejections"]:
            yield (
                f"error {one['object']} ({one['locator']}): PLT9002 Envoy refused "
                f"{refused['part']} ({refused['proxy']}): {refused['error']}"
            )
    for fault in page["faults"]:
        yield f"error {fault['source']} ({fault['locator']}): {fault['problem']}"
    for failure in page["failures"]:
        yield f"error query {failure['query']}: {failure['error']}"
    if page["store"]:
        yield f"error store: {page['store']}"


def _is_troubled(page: dict[str, Any]) -> bool:
    errors = [f for one in page["objects"] for f in one["findings"] if f["severity"] == "error"]
    refused = any(one["rejections"] for one in page["objects"])
    down = any(one["ready"] < one["desired"] for one in page["workloads"])
    late = down or any(proxies.late(proxy) for proxy in page["proxies"])
    return bool(errors or refused or late or page["faults"] or page["failures"] or page["store"])
