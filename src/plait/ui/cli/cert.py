"""``plait cert``: who has which identity, and until when."""

from __future__ import annotations

from typing import Any

import click

from plait.ui.cli import common, output, proxies

_EXAMPLES = """
Examples: plait cert · plait cert web-1.demo -o wide
"""
_SHOWN = 16  # digits of a fingerprint


@click.command(epilog=_EXAMPLES)
@click.argument("proxy", required=False)
@click.option(
    "-o", "--output", "form", type=click.Choice(["table", "wide", "json", "yaml"]), default="table"
)
def command(proxy: str | None, form: str) -> None:
    """The newest certificate of each proxy; exit code 1 if one should have been renewed.

    A certificate is renewed at half of its life.  One of a connected proxy that has less than a
    third left is due.
    """
    page = common.client().ask("GET", "/plait/v1/ca/certificates").body
    found = [one for one in page if proxy in (None, one["proxy"], _name(one), one["pod"])]
    if proxy is not None and not found:
        raise click.ClickException(f'"{proxy}" was given no certificate; see: plait cert')
    if form in ("json", "yaml"):
        click.echo(output.data(found, form))
    else:
        _print(found, wide=form == "wide")
    late = [one for one in found if one["connected"] and one["state"] != "OK"]
    common.warn(f"{_name(one)}: {_problem(one)}" for one in late)
    if late:
        raise SystemExit(1)


def _print(found: list[dict[str, Any]], *, wide: bool) -> None:
    if not found:
        click.echo("no certificate was given")
        return
    more = ["SERIAL", "ISSUER", "PROXY"] if wide else []
    header = ["NAME", "IDENTITY", "LEFT", "LIFE", "STATUS", "CONNECTED", *more]
    click.echo(output.table(header, [_row(one, wide=wide) for one in found]))


def _row(one: dict[str, Any], *, wide: bool) -> list[Any]:
    left = output.age(one["left"]) if one["left"] > 0 else "-"
    connected = "yes" if one["connected"] else "no"
    row = [_name(one), one["identity"], left, output.age(one["life"]), one["state"], connected]
    return [*row, one["serial"], one["issuer"][:_SHOWN], one["proxy"]] if wide else row


def _problem(one: dict[str, Any]) -> str:
    if one["state"] == "EXPIRED":
        return "its certificate has expired; look at the log of its agent"
    left = output.age(one["left"])
    return f"its certificate should have been renewed, and expires in {left}"


def _name(one: dict[str, Any]) -> str:
    return proxies.name({"id": one["proxy"], "address": ""})
