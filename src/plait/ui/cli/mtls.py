"""``plait mtls``: who still calls in plain text, and the way to ask everybody for an identity."""

from __future__ import annotations

import time
from typing import Any

import click

from plait.ui.cli import common, output, owners, waiting
from plait.ui.cli.client import APPLY, Client

PATH = "/plait/v1/mtls"
_EXAMPLES = """
Examples: plait mtls · plait mtls -n demo -o json · plait mtls strict -n demo --quiet 600
"""
_TICK = 1.0  # seconds between two looks
_DELIVERY = 60  # seconds until every proxy must have acknowledged
_KIND = "peerauthentications"


@click.group(epilog=_EXAMPLES, invoke_without_command=True)
@click.option("-n", "--namespace", help="In one namespace; default: in all.")
@click.option(
    "-o", "--output", "form", type=click.Choice(["table", "json", "yaml"]), default="table"
)
@click.pass_context
def command(context: click.Context, namespace: str | None, form: str) -> None:
    """What each port asks of its callers, and who calls it in plain text, since when.

    Callers are seen on ports that take both (PERMISSIVE).
    """
    if context.invoked_subcommand is not None:
        return
    found = _ports(common.client(), namespace)
    if form != "table":
        click.echo(output.data(found, form))
    elif not found:
        click.echo(
            f"no workload with an identity is connected{f' in {namespace}' if namespace else ''}"
        )
    else:
        header = ["NAMESPACE", "WORKLOAD", "PORT", "PROTOCOL", "MODE", "POLICY", "PLAIN CALLERS"]
        click.echo(output.table(header, map(_row, found)))


@command.command(epilog=_EXAMPLES)
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option(
    "--quiet",
    default=60,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="For so long nobody may have called in plain text.",
)
@click.option("--dry-run", is_flag=True, help="Look, wait, and change nothing.")
def strict(namespace: str, quiet: int, dry_run: bool) -> None:
    """Ask every caller of a namespace for an identity: PERMISSIVE becomes STRICT.

    It stops, and changes nothing, if somebody called in plain text within the time given by
    --quiet, or does while that time is waited for, or if a server of the namespace has no proxy.
    """
    api = common.client()
    _see_proxies(api, namespace)
    found = _permissive(api, namespace)
    if not found:
        click.echo(f"no port of a connected workload in {namespace} is PERMISSIVE")
        return
    _until_quiet(api, namespace, quiet)
    if dry_run:
        click.echo(f"{len(found)} ports of {namespace} could be STRICT (dry run)")
        return
    revision = _apply(api, namespace)
    waiting.until_delivered(api, revision, _DELIVERY)
    ports = _ports(api, namespace)
    left = [one for one in ports if one["mode"] != "STRICT" and not _is_bare(one)]
    common.warn(f"{_name(one)} stays {one['mode']}: {one['policy']} says so" for one in left)


def _ports(api: Client, namespace: str | None) -> list[dict[str, Any]]:
    page: list[dict[str, Any]] = api.ask("GET", PATH).body
    return [one for one in page if namespace in (None, one["namespace"])]


def _permissive(api: Client, namespace: str) -> list[dict[str, Any]]:
    """Ports of connected workloads that take both."""
    ports = _ports(api, namespace)
    return [one for one in ports if one["mode"] == "PERMISSIVE" and not _is_bare(one)]


def _see_proxies(api: Client, namespace: str) -> None:
    """See that whoever would be called by mutual TLS takes it.

    Raises:
        ClickException: somebody has no proxy.
    """
    bare = [one for one in _ports(api, namespace) if _is_bare(one) and one["mode"] == "PERMISSIVE"]
    if bare:
        lines = "\n".join(f"  {_name(one)}" for one in bare)
        raise click.ClickException(
            "servers without a proxy take plain text alone, and would be called by mutual TLS; "
            f"nothing is changed:\n{lines}\n"
            "Give them a proxy, or a PeerAuthentication that selects them with mode DISABLE"
        )


def _until_quiet(api: Client, namespace: str, quiet: int) -> None:
    """Return when nobody has called in plain text for so many seconds.

    Raises:
        ClickException: somebody has, or it cannot be told.
    """
    said = False
    while True:
        found = _permissive(api, namespace)
        if plain := [one for one in found if any(c["ago"] < quiet for c in one["callers"])]:
            lines = "\n".join(f"  {_name(one)}: {_callers(one)}" for one in plain)
            raise click.ClickException(
                f"somebody calls in plain text; nothing is changed:\n{lines}"
            )
        if unknown := [_name(one) for one in found if one["watched"] is None]:
            raise click.ClickException(
                f"it cannot be told who calls {', '.join(unknown)}: no agent of this machine "
                "stands beside all of its proxies. Set it yourself with a PeerAuthentication"
            )
        missing = quiet - min((one["watched"] for one in found), default=quiet)
        if missing <= 0:
            return
        if not said:
            click.echo(f"looking for callers in plain text for {missing:.0f} s ...")
            said = True
        time.sleep(min(_TICK, missing))


def _apply(api: Client, namespace: str) -> int:
    """Set the mode of the namespace's own policy; the revision of the change."""
    resource = api.resource(_KIND)
    written = api.ask("GET", resource.path(namespace)).body["items"]
    whole = [one for one in written if not one.get("spec", {}).get("selector")]
    whole.sort(key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))
    name = whole[0]["metadata"]["name"] if whole else "default"
    body = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    query = {"fieldManager": owners.MANAGER, "force": "true"}
    answer = api.ask(
        "PATCH",
        resource.path(namespace, name),
        body,
        query=query,
        headers={"Content-Type": APPLY},
    )
    click.echo(f"peerauthentication/{name} in {namespace}: STRICT")
    return int(answer.body["metadata"]["resourceVersion"])


def _row(one: dict[str, Any]) -> list[Any]:
    return [
        one["namespace"],
        one["workload"],
        one["number"],
        one["protocol"] or "(detected)",
        one["mode"],
        one["policy"] or "(default)",
        _callers(one),
    ]


def _is_bare(one: dict[str, Any]) -> bool:
    return not one["proxies"]


def _callers(one: dict[str, Any]) -> str:
    if _is_bare(one):
        return "no proxy: it takes plain text alone"
    if one["callers"]:
        return ", ".join(
            f"{caller['name'] or caller['address']} since {output.age(caller['since'])}, "
            f"last {output.age(caller['ago'])} ago"
            for caller in one["callers"]
        )
    if one["mode"] != "PERMISSIVE":
        return "-"
    watched = one["watched"]
    return "unknown" if watched is None else f"none for {output.age(watched)}"


def _name(one: dict[str, Any]) -> str:
    return f"{one['namespace']}/{one['workload']}:{one['number']}"
