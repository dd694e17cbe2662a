"""``plait proxy``: run one Envoy in the foreground, or show what one is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from plait.ui.cli import common, output, proxies

_EXAMPLES = """
Examples: plait proxy gateway --labels istio=ingressgateway · plait proxy config routes web -o yaml
"""
_GATEWAY = """
Example: plait proxy gateway --name edge --labels istio=ingressgateway --xds 127.0.0.1:15010
"""
_SIDECAR = """
Example: plait proxy sidecar --name web --labels app=web,version=v1 --ip 10.0.0.7
"""
_CONFIG = """
Examples: plait proxy config all · plait proxy config routes edge --name 8080 -o yaml
"""


@click.group(epilog=_EXAMPLES)
def command() -> None:
    """Run one Envoy of a control plane, or show what one is sent."""


def _address(context: click.Context, parameter: click.Parameter, value: str) -> str:
    del context, parameter
    host, _, port = value.rpartition(":")
    is_socket = value.startswith("unix:") and value != "unix:"
    if value and not is_socket and not (host and port.isdecimal() and int(port) <= 65535):
        raise click.BadParameter(f'"{value}" is not HOST:PORT or unix:PATH')
    return value


def _ips(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    import ipaddress

    del context, parameter
    try:
        return tuple(str(ipaddress.ip_address(one)) for one in value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _options(function: Any) -> Any:
    given = (
        click.option(
            "--xds",
            default="127.0.0.1:15010",
            show_default=True,
            callback=_address,
            help="Control plane: HOST:PORT or unix:PATH.",
        ),
        click.option("--name", help="Of the workload's instance; default: the role."),
        click.option("--namespace", default="default", show_default=True, help="Its namespace."),
        click.option("--labels", default="", help="Its labels, as app=web,version=v1."),
        click.option(
            "--ip", multiple=True, default=("127.0.0.1",), callback=_ips, help="Its addresses."
        ),
        click.option("--service-account", default="default", help="Its service account."),
        click.option("--network", default="", help="Its network."),
        click.option("--metadata", default="", help="More that it says of itself, as A=1,B=2."),
        click.option("--mesh-config", type=Path, help="File with MeshConfig: concurrency, drain."),
        click.option("--concurrency", type=click.IntRange(min=0), help="Workers; 0: all cores."),
        click.option(
            "--admin",
            default="",
            callback=_address,
            help="Envoy's own pages: HOST:PORT; default: hidden.",
        ),
        click.option("--admin-socket", default="", help="The same on a Unix socket."),
        click.option("--stats", default="", callback=_address, help="HOST:PORT for Prometheus."),
        click.option(
            "--health", default="", callback=_address, help="HOST:PORT for /healthz/ready."
        ),
        click.option("--base-id", type=int, help="Keeps Envoys apart; default: by the proxy's id."),
        click.option("--log-file", type=Path, help="Envoy's own words."),
        click.option("--log-level", default="warning", help="How much Envoy says."),
    )
    for option in reversed((*given, *_identity_options())):
        function = option(function)
    return function


def _identity_options() -> tuple[Any, ...]:
    return (
        click.option(
            "--pod",
            default="",
            help="NAMESPACE/NAME of the Pod on this machine whose identity it gets; for unix:PATH.",
        ),
        click.option(
            "--token-file",
            type=Path,
            help="Join token that it gets an identity for, kept beside it in FILE.identity.",
        ),
        click.option("--join", default="", callback=_address, help="HOST:PORT that takes tokens."),
        click.option("--roots", type=Path, help="Certificates to know the control plane by."),
        click.option(
            "--cert-ttl", type=click.IntRange(min=0), default=0, help="Seconds of a certificate."
        ),
    )


@command.command(epilog=_GATEWAY, short_help="Run a gateway.")
@_options
def gateway(**flags: Any) -> None:
    """Run a gateway: it listens where the Gateway objects that select its labels say."""
    _run(role="router", interception="NONE", **flags)


@command.command(epilog=_SIDECAR)
@click.option(
    "--interception",
    type=click.Choice(["NONE", "REDIRECT"]),
    default="NONE",
    show_default=True,
    help="NONE: listeners bind loopback ports; REDIRECT: iptables rules capture.",
)
@_options
def sidecar(**flags: Any) -> None:
    """Run a sidecar beside a workload."""
    _run(role="sidecar", **flags)


def _quiet_agent() -> Any:
    """What runs an Envoy, which brings gRPC along."""
    from plait import settings

    settings.quiet_grpc()
    from plait.agent import main as agent

    return agent


def _run(**flags: Any) -> None:
    from plait.base import processes
    from plait.base.errors import PlaitError
    from plait.xds import bootstrap

    agent = _quiet_agent()
    role = bootstrap.Role(flags["role"])
    name = flags["name"] or ("gateway" if flags["role"] == "router" else "sidecar")
    socket = flags["admin_socket"]
    who = bootstrap.Proxy(
        role=role,
        name=name,
        namespace=flags["namespace"],
        addresses=tuple(flags["ip"]),
        labels=_pairs(flags["labels"], "--labels"),
        interception=bootstrap.Interception(flags["interception"]),
        service_account=flags["service_account"],
        network=flags["network"],
        metadata=_pairs(flags["metadata"], "--metadata"),
    )
    settings = bootstrap.Settings(
        proxy=who,
        xds=flags["xds"],
        admin=f"unix:{socket}" if socket else flags["admin"],
        stats=flags["stats"],
        health=flags["health"],
    )
    claim = _claim(who, flags)
    mesh = _mesh(flags["mesh_config"])
    workers = flags["concurrency"]
    options = agent.Options(
        settings=settings,
        concurrency=(mesh.concurrency or 0) if workers is None else workers,
        base_id=flags["base_id"],
        drain_duration=mesh.drain_duration,
        termination_drain_duration=mesh.termination_drain_duration,
        log_level=flags["log_level"],
        log_file=flags["log_file"],
        claim=claim,
        kept=_beside(flags["token_file"]),
    )
    if claim is None:
        click.echo(f"{who.id}: no identity: calls are not encrypted (see --pod, --token-file)")
    processes.leave_no_core()
    try:
        code = agent.run(options, lambda line: click.echo(f"{who.id}: {line}"))
    except PlaitError as error:
        raise click.ClickException(str(error)) from error
    raise SystemExit(code)


def _claim(who: Any, flags: dict[str, Any]) -> Any:
    """Whose identity it is to have; None: nothing proves any."""
    from plait.agent.renewal import Claim

    pod, token, roots = flags["pod"], flags["token_file"], flags["roots"]
    if pod and not flags["xds"].startswith("unix:"):
        raise click.UsageError("--pod is for a control plane at unix:PATH; give --token-file")
    if token and not roots:
        raise click.UsageError("--token-file needs --roots: a token is not sent unencrypted")
    if not (pod or token):
        return None
    if pod and pod != f"{who.namespace}/{who.name}":
        said = f"--namespace {who.namespace} --name {who.name}"
        raise click.UsageError(f"--pod {pod} is not what {said} says: they name one Pod")
    return Claim(
        namespace=who.namespace,
        service_account=who.service_account,
        pod=pod,
        proxy=who.id,
        seconds=flags["cert_ttl"],
        token=token,
        join=flags["join"],
        roots=_text(roots) if roots else "",
    )


def _beside(token: Path | None) -> Path | None:
    """Where the identity is kept that a token was spent for."""
    return token.with_name(f"{token.name}.identity") if token else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"cannot read {path}: {error}") from error


def _mesh(path: Path | None) -> Any:
    """The defaults for proxies of a MeshConfig."""
    from plait.config import mesh_config

    text = _text(path) if path else ""
    found, problems = mesh_config.read(text, str(path))
    if found is None:
        raise click.ClickException("; ".join(f"{p.locator}: {p}" for p in problems))
    return found.default_config


def _pairs(written: str, flag: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in written.split(",") if part]
    if wrong := [key for key, sign, _ in pairs if not (sign and key)]:
        raise click.UsageError(f'{flag}: "{wrong[0]}" is no KEY=VALUE')
    return {key: value for key, _, value in pairs}


_PARTS = ("listeners", "routes", "clusters", "endpoints", "bootstrap", "all")


@command.command(epilog=_CONFIG, short_help="Show what a proxy is sent.")
@click.argument("what", type=click.Choice(_PARTS))
@click.argument("proxy", required=False)
@click.option(
    "-o", "--output", "form", type=click.Choice(["short", "json", "yaml"]), default="short"
)
@click.option("--name", help="Only resources whose name contains this.")
def config(what: str, proxy: str | None, form: str, name: str | None) -> None:
    """Show what a proxy is sent, by its workload, Pod or id; the only one if there is one."""
    api = common.client()
    known = api.ask("GET", "/plait/v1/proxies").body
    if proxy is None and len(known) != 1:
        said = (
            f"name one of: {', '.join(map(proxies.name, known))}"
            if known
            else "no proxy is connected"
        )
        raise click.ClickException(said)
    from urllib.parse import quote

    path = f"/plait/v1/proxies/{quote(proxy or known[0]['id'], safe='')}/config/{what}"
    page = api.ask("GET", path).body
    if name:
        page = {part: [one for one in found if name in _name(one)] for part, found in page.items()}
    click.echo(output.data(page, form) if form != "short" else "\n\n".join(_short(page)))


def _name(resource: dict[str, Any]) -> str:
    return str(resource.get("name") or resource.get("cluster_name") or resource.get("id", ""))


def _short(page: dict[str, Any]) -> list[str]:
    rows: dict[str, list[list[Any]]] = {
        part: [_line(part, one) for one in found] for part, found in page.items()
    }
    headers = {
        "listeners": ["LISTENER", "ADDRESS", "CHAINS", "ROUTES"],
        "routes": ["ROUTE TABLE", "VIRTUAL HOSTS", "ROUTES FROM"],
        "clusters": ["CLUSTER", "TYPE", "FROM"],
        "endpoints": ["CLUSTER", "ENDPOINTS"],
        "bootstrap": ["PROXY", "ROLE", "NAMESPACE", "LABELS"],
    }
    return [output.table(headers[part], found) for part, found in rows.items() if found]


def _line(part: str, one: dict[str, Any]) -> list[Any]:
    match part:
        case "listeners":
            where = one.get("address", {}).get("socket_address", {})
            chains = [
                *one.get("filter_chains", []),
                *filter(None, [one.get("default_filter_chain")]),
            ]
            tables = {t for chain in chains for t in _tables(chain)}
            place = f"{where.get('address', '')}:{where.get('port_value', '')}"
            return [one["name"], place, len(chains), ", ".join(sorted(tables)) or "-"]
        case "routes":
            hosts = one.get("virtual_hosts", [])
            names = {
                r.get("name", "").partition("#")[0] for h in hosts for r in h.get("routes", [])
            }
            sources = sorted(n for n in names if "/" in n)
            return [one["name"], len(hosts), ", ".join(sources[:4]) or "-"]
        case "clusters":
            metadata = one.get("metadata", {}).get("filter_metadata", {})
            kind = one.get("type") or one.get("cluster_type", {}).get("name", "STATIC")
            return [one["name"], kind, metadata.get("plait", {}).get("origin", "-")]
        case "endpoints":
            found = [e for group in one.get("endpoints", []) for e in group.get("lb_endpoints", [])]
            return [one["cluster_name"], ", ".join(map(_place, found[:6])) or "none"]
        case _:
            said = one["identity"]
            labels = ",".join(f"{name}={value}" for name, value in said["labels"])
            return [_name(one), said["role"], said["namespace"], labels or "-"]


def _tables(chain: dict[str, Any]) -> list[str]:
    found = [f.get("typed_config", {}).get("rds", {}) for f in chain.get("filters", [])]
    return [rds["route_config_name"] for rds in found if rds]


def _place(endpoint: dict[str, Any]) -> str:
    address = endpoint["endpoint"]["address"]
    if "pipe" in address:
        return str(address["pipe"]["path"])
    where = address["socket_address"]
    return f"{where['address']}:{where['port_value']}"
