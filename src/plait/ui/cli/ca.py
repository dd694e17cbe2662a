"""``plait ca``: the roots of the mesh, and going over to a new one."""

from __future__ import annotations

import time
from typing import Any

import click

from plait.ui.cli import common, output, proxies
from plait.ui.cli.client import Client

PATH = "/plait/v1/ca"
PATIENCE = 900
"""Seconds that ``--wait`` waits where no number is given."""

_EXAMPLES = """
Examples: plait ca status · plait ca rotate --wait · plait ca rotate --abort
"""
_TICK = 0.5  # seconds between two looks
_SHOWN = 16  # digits of a fingerprint
_NAMED = 5  # proxies
_PHASES = {
    "steady": "no rotation",
    "trusting": "1 of 3: the new root becomes trusted; the old one signs",
    "signing": "2 of 3: the new root signs; both are trusted",
    "dropping": "3 of 3: the old root is given up",
}


@click.group(epilog=_EXAMPLES)
def command() -> None:
    """The certificate authority: its roots, and their rotation."""


@command.command(epilog=_EXAMPLES)
@click.option(
    "-o", "--output", "form", type=click.Choice(["table", "json", "yaml"]), default="table"
)
def status(form: str) -> None:
    """The roots with their ends, and how far a rotation is; exit code 1 if one is to expire."""
    page = common.client().ask("GET", PATH).body
    if form == "table":
        _print(page)
    else:
        click.echo(output.data(page, form))
    if any(root["isDue"] for root in page["roots"]) or page["problem"]:
        raise SystemExit(1)


@command.command(epilog="Example: plait ca roots > roots.pem")
def roots() -> None:
    """Print the roots in PEM, by which clients and other machines know the mesh."""
    page = common.client().ask("GET", PATH).body
    found = [root["pem"] for root in page["roots"] if root["role"] != "intermediate"]
    click.echo("".join(found), nl=False)


@command.command(epilog=_EXAMPLES)
@click.option("--wait", is_flag=True, help="Return when it is over.")
@click.option(
    "--timeout", default=PATIENCE, show_default=True, type=click.IntRange(min=1), metavar="SECONDS"
)
@click.option("--abort", is_flag=True, help="Go back to the old root, while that is possible.")
@click.option("--force", is_flag=True, help="Do not wait for proxies that are not connected.")
def rotate(wait: bool, timeout: int, abort: bool, force: bool) -> None:
    """Go over to a new root: trusted first, then signing, then alone; without an outage."""
    if abort and force:
        raise click.UsageError("--abort or --force, not both")
    api = common.client()
    body = {"abort": abort, "force": force}
    page = api.ask("POST", f"{PATH}/rotation", body).body
    click.echo(_phase(page))
    if wait:
        _until_steady(api, page, timeout)
    elif page["phase"] != "steady":
        click.echo("it goes on by itself; see: plait ca status")


def _until_steady(api: Client, page: dict[str, Any], seconds: int) -> None:
    """Return when the rotation is over, and say what happens meanwhile.

    Raises:
        ClickException: it takes longer.
    """
    deadline, said = time.monotonic() + seconds, _phase(page)
    while page["phase"] != "steady":
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"not over after {seconds} s: {_phase(page)}. {_waits(page)}. "
                "It goes on by itself; see: plait ca status"
            )
        time.sleep(_TICK)
        page = api.ask("GET", PATH).body
        if (now := _phase(page)) != said:
            said = now
            click.echo(said)


def _print(page: dict[str, Any]) -> None:
    rows = [
        [
            root["fingerprint"][:_SHOWN],
            root["role"],
            root["subject"],
            "expired" if root["left"] <= 0 else output.age(root["left"]),
            "DUE" if root["isDue"] else "OK",
        ]
        for root in page["roots"]
    ]
    click.echo(output.table(["FINGERPRINT", "ROLE", "SUBJECT", "LEFT", "STATUS"], rows))
    click.echo(f"trust domain: {page['trustDomain']}")
    if page["source"]:
        click.echo(f"authority of: {page['source']}")
    click.echo(f"rotation: {_phase(page)}")
    if page["phase"] != "steady":
        click.echo(f"in this phase for {output.age(page['age'])}. {_waits(page)}")
    if page["forced"]:
        click.echo("proxies that are not connected are not waited for")
    if page["problem"]:
        click.echo(f"error {page['problem']}; what was in force before stays")


def _phase(page: dict[str, Any]) -> str:
    return _PHASES[page["phase"]]


def _waits(page: dict[str, Any]) -> str:
    """Whom it waits for."""
    found = page["waits"]
    if not found:
        return "nobody is waited for"
    named = "; ".join(_wait(one) for one in found[:_NAMED])
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"waits for {named}{more}"


def _wait(one: dict[str, Any]) -> str:
    left = f", {output.age(max(0.0, one['left']))} more" if one["left"] is not None else ""
    name = proxies.name({"id": one["proxy"], "address": ""})
    return f"{name} ({one['reason']}{left})"
