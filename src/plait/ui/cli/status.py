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
        _print_workloads(page)
        click.echo()
    if page["proxies"]:
        rows = [_row(proxy) for proxy in page["proxies"]]
        click.echo(output.table(["PROXY", "ROLE", "STATUS", "SINCE", "REVISION", "DETAIL"], rows))
    else:
        click.echo("no proxy is connected")
    for line in _troubles(page):
        click.echo(line)


def _print_workloads(page: dict[str, Any]) -> None:
    states = [_state(one).splitlines() for one in page["workloads"]]
    rows = [_workload(one, state[0]) for one, state in zip(page["workloads"], states, strict=True)]
    click.echo(output.table(["WORKLOAD", "READY", "RESTARTS", "STATUS"], rows))
    for row, (_, *more) in zip(rows, states, strict=True):
        if more:  # lines to copy into a file, for one
            click.echo("\n  ".join([f"{row[0]}:", *more]))
    for door in page["doors"]:
        click.echo(f"http://{door['address']}   {_door(door)}")
    for words in page.get("weaknesses", ()):
        click.echo(f"identities less safe: {words}")


def _running(api: Client) -> dict[str, Any]:
    """The page of workloads."""
    found: dict[str, Any] = api.ask("GET", "/plait/v1/workloads").body
    return found


def _workload(one: dict[str, Any], state: str) -> list[Any]:
    restarts = sum(instance["restarts"] for instance in one["instances"])
    name = f"{one['namespace']}/{one['name']}"
    return [name, f"{one['ready']}/{one['desired']}", restarts, state]


def _state(one: dict[str, Any]) -> str:
    """How a workload does, in one line or more; what several instances say is said once."""
    said = dict.fromkeys(_said(instance) for instance in one["instances"] if not instance["ready"])
    if one["message"] or said:
        return str(one["message"] or "; ".join(said))
    if one["ready"] < one["desired"]:
        return "Pending"
    return "Running" if one["desired"] else "Scaled to 0"


def _said(instance: dict[str, Any]) -> str:
    told = [instance["reason"], instance["message"]]
    return ": ".join(filter(None, told)) or str(instance["phase"])


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
    for alarm in page.get("alarms", ()):
        yield f"warning {alarm}"


def _is_troubled(page: dict[str, Any]) -> bool:
    errors = [f for one in page["objects"] for f in one["findings"] if f["severity"] == "error"]
    refused = any(one["rejections"] for one in page["objects"])
    down = any(one["ready"] < one["desired"] for one in page["workloads"])
    down |= any(door["problem"] for door in page["doors"])
    late = down or any(proxies.late(proxy) for proxy in page["proxies"])
    said = any(page.get(part) for part in ("faults", "failures", "store", "alarms"))
    return bool(errors or refused or late or said)
